/**
 * The one contract between everything that serves blocks (store, volume, throttle, null device) and everything that
 * asks for them (NBD session, iSCSI, image import). Requests are objects that their issuer pools and reuses, and
 * completion is one method call: no promise, closure or copy per request.
 */

export const Operation = { READ: 0, WRITE: 1, FLUSH: 2, TRIM: 3, WRITE_ZEROES: 4, CACHE: 5 } as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** Bits of `BlockRequest.flags`. */
export const RequestFlag = {
  /** Complete only when the change is on stable storage (P2). Valid for WRITE, TRIM, WRITE_ZEROES. */
  FUA: 1,
  /** WRITE_ZEROES: the client wants the range allocated. Advisory here: a log never overwrites in place. */
  NO_HOLE: 2,
  /** WRITE_ZEROES: fail with UNSUPPORTED if it is not faster than writing. */
  FAST_ZERO: 4,
  /**
   * READ and WRITE of whole blocks as they are sealed, one behind another: `data` has header and ciphertext of each, which
   * is a 64th more than the plaintext that `lengthBytes` counts. For who moves a volume without opening it; of no
   * protocol. A read of what is not there, or not encrypted, fails; a write is refused with UNAUTHENTIC unless every block
   * opens at its place under a key of the volume.
   */
  SEALED: 8,
} as const;

/** Why a request failed. Translated once at the edge (`toNbdErrno`). */
export type DeviceFault =
  | { readonly code: 'IO'; readonly detail: string }
  | { readonly code: 'FULL' }
  | { readonly code: 'RANGE' }
  | { readonly code: 'READ_ONLY' }
  | { readonly code: 'UNSUPPORTED' }
  | { readonly code: 'CLOSED' }
  /** Sealed blocks are not what was sealed there under a key of the volume. Nothing was written. */
  | { readonly code: 'UNAUTHENTIC'; readonly detail: string };

/**
 * One request. Between `submit` and `done` the device owns it and the bytes that it names: the issuer must neither
 * change, reuse nor free them.
 */
export interface BlockRequest {
  readonly operation: Operation;
  /** Byte offset in the device; any alignment. */
  readonly offsetBytes: number;
  /** Bytes; 0 for FLUSH. */
  readonly lengthBytes: number;
  /** RequestFlag bits. */
  readonly flags: number;
  /** WRITE: the source; READ: the destination. Bytes [dataOffset, dataOffset + lengthBytes) belong to the request. */
  readonly data: Uint8Array;
  readonly dataOffset: number;
  /** Called exactly once, possibly before `submit` returns. null: success. Must not throw. */
  done(fault: DeviceFault | null): void;
}

/** How waiting for a turn ends before its time: by going on at once, or with CLOSED. */
export type WaitingEnd = 'serve' | 'refuse';

/** A run of bytes in one allocation state. `allocated` false: reads as zeros and takes no space. */
export interface Extent {
  readonly lengthBytes: number;
  readonly allocated: boolean;
}

export interface BlockDevice {
  /** The natural block, a power of two in bytes (4096 to 65536). Other alignments work and cost a read-modify-write. */
  readonly blockBytes: number;
  /** The present size in bytes; grows when the volume is expanded. A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Takes a request. Range and state are checked here as well: a bad one is completed with a fault, never thrown. */
  submit(request: BlockRequest): void;
  /**
   * The allocation state of [offsetBytes, offsetBytes + lengthBytes), merged runs in order, at most `extentsMax` of
   * them (so possibly a prefix of the range; never empty when lengthBytes > 0). Throws DeviceError on damage.
   */
  extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]>;
  /**
   * Where requests may wait for their turn (a throttled volume): ends the waiting of those that `of` picks. Requests
   * under way stay under way. Without it nothing waits.
   */
  endWaiting?(how: WaitingEnd, of: (request: BlockRequest) => boolean): void;
}
