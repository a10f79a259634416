/** What the first bytes of a file say about it. Layouts: the block drivers of QEMU (block/*.c) name the same magics. */

/** Formats that qemu-img writes and that people exchange. */
export const EXPORT_FORMATS = ['raw', 'qcow2', 'qed', 'vdi', 'vhdx', 'vmdk', 'vpc'] as const;

/** Formats that can be read. */
export const IMPORT_FORMATS = [...EXPORT_FORMATS, 'qcow', 'parallels', 'dmg', 'luks'] as const;

export type ImageKind =
  | { readonly kind: 'raw' }
  /** qemu-img knows it by this name. */
  | { readonly kind: 'foreign'; readonly format: string }
  /** Nothing that a volume should hold as it is. */
  | { readonly kind: 'compressed'; readonly by: string };

/** As many leading bytes as `imageKind` looks at. */
export const MAGIC_BYTES = 512;

interface Magic {
  readonly offset: number;
  readonly bytes: string;
  readonly kind: ImageKind;
}

const MAGICS: readonly Magic[] = [
  { offset: 0, bytes: 'QED\0', kind: { kind: 'foreign', format: 'qed' } },
  { offset: 0, bytes: 'KDMV', kind: { kind: 'foreign', format: 'vmdk' } },
  { offset: 0, bytes: 'COWD', kind: { kind: 'foreign', format: 'vmdk' } },
  { offset: 0, bytes: '# Disk DescriptorFile', kind: { kind: 'foreign', format: 'vmdk' } },
  { offset: 0, bytes: 'vhdxfile', kind: { kind: 'foreign', format: 'vhdx' } },
  { offset: 0, bytes: 'conectix', kind: { kind: 'foreign', format: 'vpc' } },
  { offset: 64, bytes: '\x7f\x10\xda\xbe', kind: { kind: 'foreign', format: 'vdi' } },
  { offset: 0, bytes: 'WithoutFreeSpace', kind: { kind: 'foreign', format: 'parallels' } },
  { offset: 0, bytes: 'WithouFreSpacExt', kind: { kind: 'foreign', format: 'parallels' } },
  { offset: 0, bytes: '\x1f\x8b\x08', kind: { kind: 'compressed', by: 'gzip' } },
  { offset: 0, bytes: '\xfd7zXZ\0', kind: { kind: 'compressed', by: 'xz' } },
  { offset: 0, bytes: '\x28\xb5\x2f\xfd', kind: { kind: 'compressed', by: 'zstd' } },
  { offset: 0, bytes: 'BZh', kind: { kind: 'compressed', by: 'bzip2' } },
  { offset: 0, bytes: 'PK\x03\x04', kind: { kind: 'compressed', by: 'zip' } },
];

/** What a file is whose first bytes are `head`. Anything unknown is raw, as disks are. */
export function imageKind(head: Uint8Array): ImageKind {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  if (text.startsWith('QFI\xfb')) {
    const version = text.charCodeAt(7); // big endian at 4..7
    return { kind: 'foreign', format: version === 1 ? 'qcow' : 'qcow2' };
  }
  return MAGICS.find(({ offset, bytes }) => text.startsWith(bytes, offset))?.kind ?? { kind: 'raw' };
}

/** The format that a file name asks for: `disk.qcow2` is qcow2, what says nothing is raw. */
export function formatOfName(name: string): string {
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  if (extension === 'vhd') return 'vpc';
  return (EXPORT_FORMATS as readonly string[]).includes(extension) ? extension : 'raw';
}
