import type { ScrubsMeasure } from './measures.js';
import { SampleFamily } from './sample-family.js';

/** Per volume: what scrubs know of it. */
export class ScrubFamilies {
  readonly #readBytes = new SampleFamily(
    'galleonfs_scrub_read_bytes_total',
    'counter',
    'Bytes that scrubs have read from the journal.',
  );
  readonly #bad = new SampleFamily(
    'galleonfs_volume_scrub_bad_blocks',
    'gauge',
    'Blocks that scrubs found damaged and that nothing has replaced since. Anything above 0 is lost data.',
  );
  readonly #running = new SampleFamily('galleonfs_volume_scrub_running', 'gauge', '1 while the volume is scrubbed.');
  readonly #ended = new SampleFamily(
    'galleonfs_volume_scrub_last_end_timestamp_seconds',
    'gauge',
    'When the last scrub of the volume ended, seconds since 1970; 0: never.',
  );

  families(): SampleFamily[] {
    return [this.#readBytes, this.#bad, this.#running, this.#ended];
  }

  collect(scrubs: ScrubsMeasure): void {
    for (const family of this.families()) family.clear();
    this.#readBytes.add({}, scrubs.readBytes);
    for (const volume of scrubs.volumes) {
      const labels = { volume: volume.name, volume_id: volume.id };
      this.#bad.add(labels, volume.badBlocks);
      this.#running.add(labels, volume.running ? 1 : 0);
      this.#ended.add(labels, volume.lastEndedAtMs / 1000);
    }
  }
}
