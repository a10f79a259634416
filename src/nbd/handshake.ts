import { unreachable } from '../base/assert.js';
import {
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_NAME,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_TOO_BIG,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
} from './constants.js';
import { isExportFault, type ExportFault, type ExportListing, type OpenedExport } from './export-directory.js';
import {
  CLIENT_FLAGS_BYTES,
  OPTION_HEADER_BYTES,
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  decodeString,
  encodeExportNameReply,
  encodeGreeting,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeMetaContext,
  encodeOptionReply,
  encodeServer,
} from './handshake-codec.js';
import type { NbdLimits } from './limits.js';
import { listedContexts, selectContexts, type SelectedContext } from './meta-contexts.js';
import type { Agreement } from './transmission-validate.js';

/** none: NOTLS of the protocol text; optional: SELECTIVETLS; required: FORCEDTLS. */
export type TlsMode = 'none' | 'optional' | 'required';

/** The export that a client has chosen, and what was agreed with it. */
export interface ChosenExport {
  readonly name: string;
  readonly opened: OpenedExport;
  readonly agreement: Agreement;
  readonly contexts: readonly SelectedContext[];
}

/** How a negotiation ends, or what it wants done before it can go on. */
export type NegotiationOutcome =
  | { readonly kind: 'transmit'; readonly chosen: ChosenExport }
  /** Put TLS under the connection, then call `secured`. */
  | { readonly kind: 'upgrade' }
  /** `fault`: the client broke the protocol or was refused; false: it said goodbye. */
  | { readonly kind: 'close'; readonly reason: string; readonly fault: boolean };

export interface NegotiationDependencies {
  /** Bytes for the client, in order. */
  readonly send: (bytes: Buffer) => void;
  list(): readonly ExportListing[];
  /** Resolves the default export as well. `use` false: only to tell the client about it. */
  open(name: string, use: boolean): OpenedExport | ExportFault;
}

/** An export under the name that it really has. */
interface Resolved {
  readonly name: string;
  readonly opened: OpenedExport;
}

type State = 'client-flags' | 'option-header' | 'option-data' | 'option-skip' | 'over';

/**
 * The server's side of fixed newstyle negotiation: bytes in, replies out, without a socket. Reads one unit (flags, an
 * option's header, its data) at a time into a buffer of fixed size.
 */
export class Negotiation {
  readonly #limits: NbdLimits;
  readonly #tls: TlsMode;
  readonly #dependencies: NegotiationDependencies;
  readonly #input: Buffer;
  #state: State = 'client-flags';
  #fill = 0;
  /** Bytes of the unit that is being read, or left to skip. */
  #wanted = CLIENT_FLAGS_BYTES;
  #option = 0;
  #options = 0;
  #isSecured = false;
  #fixedNewstyle = false;
  #noZeroes = false;
  #structuredReplies = false;
  /** The contexts that were selected, and of which export; null: none. */
  #selected: { readonly exportName: string; readonly contexts: readonly SelectedContext[] } | null = null;
  #outcome: NegotiationOutcome | null = null;

  constructor(options: { limits: NbdLimits; tls: TlsMode }, dependencies: NegotiationDependencies) {
    this.#limits = options.limits;
    this.#tls = options.tls;
    this.#dependencies = dependencies;
    this.#input = Buffer.alloc(Math.max(OPTION_HEADER_BYTES, options.limits.optionBytesMax));
  }

  /** What must be done before more bytes may be given; null: go on. */
  get outcome(): NegotiationOutcome | null {
    return this.#outcome;
  }

  greet(): void {
    this.#dependencies.send(encodeGreeting());
  }

  /** The connection runs under TLS now. What was said in the clear may have been said by anybody, and is forgotten. */
  secured(): void {
    this.#isSecured = true;
    this.#structuredReplies = false;
    this.#selected = null;
    this.#outcome = null;
    this.#expect('option-header', OPTION_HEADER_BYTES);
  }

  /** Takes bytes from `data` at `at` up to the end of one unit at most; answers where it stopped. */
  receive(data: Buffer, at: number): number {
    if (this.#outcome !== null) return at;
    const count = Math.min(data.length - at, this.#wanted - this.#fill);
    if (this.#state !== 'option-skip') data.copy(this.#input, this.#fill, at, at + count);
    this.#fill += count;
    if (this.#fill === this.#wanted) this.#unit();
    return at + count;
  }

  #expect(state: State, bytes: number): void {
    this.#state = state;
    this.#fill = 0;
    this.#wanted = bytes;
  }

  #end(outcome: NegotiationOutcome): void {
    this.#outcome = outcome;
    this.#state = 'over';
  }

  #violation(reason: string): void {
    this.#end({ kind: 'close', reason, fault: true });
  }

  #unit(): void {
    switch (this.#state) {
      case 'client-flags':
        this.#clientFlags(this.#input.readUInt32BE(0));
        return;
      case 'option-header':
        this.#optionHeader();
        return;
      case 'option-data':
        this.#optionData(this.#input.subarray(0, this.#wanted));
        return;
      case 'option-skip':
        this.#expect('option-header', OPTION_HEADER_BYTES);
        this.#refuse(NBD_REP_ERR_TOO_BIG, 'the option is too long');
        return;
      case 'over':
        return;
      default:
        unreachable(this.#state);
    }
  }

  /** "the server MUST drop the TCP connection if the client sets an unknown flag". */
  #clientFlags(flags: number): void {
    if ((flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0) {
      this.#violation('unknown client flags');
      return;
    }
    this.#fixedNewstyle = (flags & NBD_FLAG_C_FIXED_NEWSTYLE) !== 0;
    this.#noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0;
    this.#expect('option-header', OPTION_HEADER_BYTES);
  }

  #optionHeader(): void {
    const header = decodeOptionHeader(this.#input);
    if (header === null) {
      this.#violation('an option does not begin with its magic number');
      return;
    }
    this.#options += 1;
    this.#option = header.option;
    if (this.#options > this.#limits.optionsMax) this.#violation('too many options');
    else if (header.lengthBytes > this.#limits.optionSkipBytesMax) this.#violation('an option is far too long');
    else if (header.lengthBytes > this.#limits.optionBytesMax) this.#expect('option-skip', header.lengthBytes);
    else if (header.lengthBytes > 0) this.#expect('option-data', header.lengthBytes);
    else this.#optionData(this.#input.subarray(0, 0));
  }

  #optionData(data: Buffer): void {
    this.#expect('option-header', OPTION_HEADER_BYTES);
    const option = this.#option;
    if (!this.#fixedNewstyle && option !== NBD_OPT_EXPORT_NAME) {
      this.#violation('an option other than NBD_OPT_EXPORT_NAME without fixed newstyle');
      return;
    }
    if (option === NBD_OPT_ABORT) {
      this.#reply(NBD_REP_ACK);
      this.#end({ kind: 'close', reason: 'the client aborted the negotiation', fault: false });
      return;
    }
    if (this.#tls === 'required' && !this.#isSecured && option !== NBD_OPT_STARTTLS) {
      // "as this request cannot error, it MUST terminate the session".
      if (option === NBD_OPT_EXPORT_NAME) this.#violation('NBD_OPT_EXPORT_NAME before TLS');
      else this.#refuse(NBD_REP_ERR_TLS_REQD, 'this server wants TLS');
      return;
    }
    switch (option) {
      case NBD_OPT_EXPORT_NAME:
        this.#exportName(data);
        return;
      case NBD_OPT_LIST:
        this.#list(data);
        return;
      case NBD_OPT_STARTTLS:
        this.#startTls(data);
        return;
      case NBD_OPT_INFO:
      case NBD_OPT_GO:
        this.#infoOrGo(data, option === NBD_OPT_GO);
        return;
      case NBD_OPT_STRUCTURED_REPLY:
        if (data.length > 0) {
          this.#refuse(NBD_REP_ERR_INVALID, 'the option has no data');
          return;
        }
        this.#structuredReplies = true;
        this.#reply(NBD_REP_ACK);
        return;
      case NBD_OPT_LIST_META_CONTEXT:
      case NBD_OPT_SET_META_CONTEXT:
        this.#metaContext(data, option === NBD_OPT_SET_META_CONTEXT);
        return;
      default:
        this.#refuse(NBD_REP_ERR_UNSUP, '');
    }
  }

  /** The one option whose refusal is a closed connection. */
  #exportName(data: Buffer): void {
    const name = decodeString(data);
    const resolved = name === null ? null : this.#resolve(name, true);
    if (resolved === null || isExportFault(resolved)) {
      this.#violation(`NBD_OPT_EXPORT_NAME: ${resolved === null ? 'not a name' : describeFault(resolved)}`);
      return;
    }
    const chosen = this.#choose(resolved);
    const flags = this.#transmissionFlags(chosen.agreement);
    this.#dependencies.send(encodeExportNameReply(chosen.agreement.sizeBytes, flags, !this.#noZeroes));
    this.#end({ kind: 'transmit', chosen });
  }

  #list(data: Buffer): void {
    if (data.length > 0) {
      this.#refuse(NBD_REP_ERR_INVALID, 'the option has no data');
      return;
    }
    for (const { name, description } of this.#dependencies.list()) {
      this.#dependencies.send(encodeServer(this.#option, name, description));
    }
    this.#reply(NBD_REP_ACK);
  }

  #startTls(data: Buffer): void {
    if (this.#tls === 'none') this.#refuse(NBD_REP_ERR_UNSUP, 'TLS is not configured');
    else if (data.length > 0) this.#refuse(NBD_REP_ERR_INVALID, 'the option has no data');
    else if (this.#isSecured) this.#refuse(NBD_REP_ERR_INVALID, 'TLS runs already');
    else {
      this.#reply(NBD_REP_ACK);
      this.#end({ kind: 'upgrade' });
    }
  }

  #infoOrGo(data: Buffer, go: boolean): void {
    const request = decodeInfoRequest(data);
    if (request === null) {
      this.#refuse(NBD_REP_ERR_INVALID, 'malformed option');
      return;
    }
    const resolved = this.#resolve(request.name, go);
    if (isExportFault(resolved)) {
      this.#refuseExport(resolved);
      return;
    }
    const chosen = this.#choose(resolved);
    const { opened, agreement } = chosen;
    const send = this.#dependencies.send;
    send(encodeInfoExport(this.#option, agreement.sizeBytes, this.#transmissionFlags(agreement)));
    // Each kind of information once, however often it was asked for.
    for (const information of new Set(request.information)) {
      if (information === NBD_INFO_NAME) send(encodeInfoText(this.#option, NBD_INFO_NAME, chosen.name));
      if (information === NBD_INFO_DESCRIPTION && opened.description !== '')
        send(encodeInfoText(this.#option, NBD_INFO_DESCRIPTION, opened.description));
      if (information === NBD_INFO_BLOCK_SIZE)
        send(encodeInfoBlockSize(this.#option, 1, opened.device.blockBytes, this.#limits.payloadBytesMax));
    }
    this.#reply(NBD_REP_ACK);
    if (go) this.#end({ kind: 'transmit', chosen });
    else opened.closed();
  }

  #metaContext(data: Buffer, set: boolean): void {
    // A failed selection leaves none behind.
    if (set) this.#selected = null;
    const request = decodeMetaContextRequest(data);
    if (!this.#structuredReplies || request === null) {
      this.#refuse(NBD_REP_ERR_INVALID, request === null ? 'malformed option' : 'structured replies come first');
      return;
    }
    if (request.queries.some((query) => !query.includes(':'))) {
      this.#refuse(NBD_REP_ERR_INVALID, 'a query begins with a namespace and a colon');
      return;
    }
    const resolved = this.#resolve(request.name, false);
    if (isExportFault(resolved)) {
      this.#refuseExport(resolved);
      return;
    }
    const { name, opened } = resolved;
    const { device, contexts } = opened;
    opened.closed();
    if (set) {
      const selected = selectContexts(device, contexts, request.queries, this.#limits.contextsMax);
      this.#selected = { exportName: name, contexts: selected };
      for (const one of selected) this.#dependencies.send(encodeMetaContext(this.#option, one.id, one.name));
    } else {
      // "The metadata context ID in these replies is reserved and SHOULD be set to zero" when only listing.
      for (const context of listedContexts(contexts, request.queries)) {
        this.#dependencies.send(encodeMetaContext(this.#option, 0, context));
      }
    }
    this.#reply(NBD_REP_ACK);
  }

  /** The empty name is the default export, which exists only when it is the only one. */
  #resolve(name: string, use: boolean): Resolved | ExportFault {
    let realName = name;
    if (name === '') {
      const listed = this.#dependencies.list();
      if (listed.length !== 1 || listed[0] === undefined) return { code: 'UNKNOWN' };
      realName = listed[0].name;
    }
    const opened = this.#dependencies.open(realName, use);
    return isExportFault(opened) ? opened : { name: realName, opened };
  }

  #choose(resolved: Resolved): ChosenExport {
    const { name, opened } = resolved;
    // Contexts are selected for one export: another one has none.
    const contexts = this.#selected?.exportName === name ? this.#selected.contexts : [];
    return {
      name,
      opened,
      contexts,
      agreement: {
        sizeBytes: opened.device.sizeBytes,
        readOnly: opened.readOnly || opened.device.readOnly,
        structuredReplies: this.#structuredReplies,
        blockStatus: contexts.length > 0,
        payloadBytesMax: this.#limits.payloadBytesMax,
      },
    };
  }

  #transmissionFlags(agreement: Agreement): number {
    const flags =
      NBD_FLAG_HAS_FLAGS |
      NBD_FLAG_SEND_FLUSH |
      NBD_FLAG_SEND_FUA |
      NBD_FLAG_CAN_MULTI_CONN |
      NBD_FLAG_SEND_CACHE |
      // "MUST leave this flag clear if structured replies have not been negotiated".
      (agreement.structuredReplies ? NBD_FLAG_SEND_DF : 0);
    if (agreement.readOnly) return flags | NBD_FLAG_READ_ONLY;
    return flags | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
  }

  #reply(type: number): void {
    this.#dependencies.send(encodeOptionReply(this.#option, type));
  }

  #refuse(type: number, message: string): void {
    this.#dependencies.send(encodeOptionReply(this.#option, type, Buffer.from(message)));
  }

  #refuseExport(fault: ExportFault): void {
    this.#refuse(FAULT_REPLY[fault.code], describeFault(fault));
  }
}

const FAULT_REPLY: Readonly<Record<ExportFault['code'], number>> = {
  UNKNOWN: NBD_REP_ERR_UNKNOWN,
  TLS_REQUIRED: NBD_REP_ERR_TLS_REQD,
  POLICY: NBD_REP_ERR_POLICY,
  SHUTDOWN: NBD_REP_ERR_SHUTDOWN,
};

function describeFault(fault: ExportFault): string {
  switch (fault.code) {
    case 'UNKNOWN':
      return 'no such export';
    case 'TLS_REQUIRED':
      return 'this export wants TLS';
    case 'POLICY':
      return fault.detail;
    case 'SHUTDOWN':
      return 'the server is shutting down';
    default:
      return unreachable(fault);
  }
}
