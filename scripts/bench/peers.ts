import { GalleonPeer } from './galleon-peer.js';
import type { Peer } from './peer.js';
import { PROGRAM_PEERS } from './program-peer.js';

/** Everybody, in the order of the table. */
export const PEERS: readonly Peer[] = [
  new GalleonPeer('galleon', 'Galleon', 'encrypted-storage'),
  new GalleonPeer('galleon-plain', 'Galleon plain', 'fast-local-ssd'),
  ...PROGRAM_PEERS,
];
