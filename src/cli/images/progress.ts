import { SingleBar } from 'cli-progress';
import { formatSize } from '../../base/size.js';
import type { Sink } from '../world.js';

/** How far a copy is: a bar on a terminal, nothing elsewhere. */
export class Progress {
  readonly #bar: SingleBar | undefined;
  readonly #totalBytes: number;

  constructor(sink: Sink, label: string, totalBytes: number) {
    this.#totalBytes = totalBytes;
    if (!sink.isTerminal || totalBytes === 0) return;
    this.#bar = new SingleBar({
      stream: sink.stream,
      format: `${label} {bar} {percentage}% of ${formatSize(totalBytes)}, {eta_formatted} left`,
      barCompleteChar: '#',
      barIncompleteChar: '.',
      barsize: 24,
      hideCursor: true,
      // The bar would put its own handlers for signals beside ours.
      gracefulExit: false,
    });
    this.#bar.start(totalBytes, 0);
  }

  update(doneBytes: number): void {
    this.#bar?.update(Math.min(doneBytes, this.#totalBytes));
  }

  stop(): void {
    this.#bar?.stop();
  }
}
