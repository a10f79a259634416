import { assert } from '../base/assert.js';

/** Scrapers at once; more than a handful is a mistake or an attack. For one more the oldest is cut off. */
export const METRICS_CONNECTIONS_MAX = 32;
/** A scraper that has not sent its request by then is dropped. */
export const METRICS_REQUEST_MS_MAX = 5_000;
/** How often that is looked at. */
export const METRICS_CHECK_MS = 1_000;
/** A connection on which nothing moves for so long, in either direction, is dropped. */
export const METRICS_IDLE_MS_MAX = 30_000;
/** Requests one connection may carry before it has to come back. */
export const METRICS_REQUESTS_PER_SOCKET_MAX = 10_000;
/** A request line and its headers. */
export const METRICS_HEADER_BYTES_MAX = 8 * 1024;

assert(METRICS_HEADER_BYTES_MAX >= 1024, 'the headers of every known scraper fit');
assert(METRICS_CHECK_MS <= METRICS_REQUEST_MS_MAX, 'a late request is noticed soon');
