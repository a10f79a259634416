import { isIPv4, isIPv6 } from 'node:net';

/** Whether only this machine reaches the address. Names other than localhost are not looked up: they may change. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  if (isIPv4(host)) return host.startsWith('127.');
  if (!isIPv6(host)) return false;
  const plain = host.toLowerCase();
  return plain === '::1' || /^::ffff:127\./.test(plain);
}

/** `host:port`, with an IPv6 address in brackets, so that the port can be told from it. */
export function joinAddress(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
}
