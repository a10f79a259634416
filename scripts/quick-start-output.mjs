/** What the quick start prints, and how its checks are counted. */
export class QuickStartOutput {
  checks = 0;
  failures = 0;
  #stepNumber = 0;
  #brokenOff = false;

  /** @param {string} title */
  step(title) {
    this.#stepNumber += 1;
    this.#print(`\n${this.#stepNumber}. ${title}`);
  }

  /** A command as a person would type it. @param {string} line */
  command(line) {
    this.#print(`   $ ${line}`);
  }

  /** What a command answered. @param {string} text */
  answer(text) {
    const lines = text.trimEnd().split('\n');
    for (const line of lines) if (line !== '') this.#print(`     ${line}`);
  }

  /**
   * @param {boolean} holds
   * @param {string} what
   * @param {string} [detail] Shown when it does not hold.
   */
  check(holds, what, detail = '') {
    this.checks += 1;
    if (!holds) this.failures += 1;
    this.#print(`   [${holds ? 'ok' : 'FAILED'}] ${what}`);
    if (!holds && detail !== '') this.answer(detail);
  }

  /** The tour was interrupted: what its last command still says is of no interest. */
  breakOff() {
    this.failures += 1;
    this.#brokenOff = true;
  }

  /** @param {string} line */
  #print(line) {
    if (!this.#brokenOff) console.log(line);
  }

  /** Something that this machine cannot do, said aloud. @param {string} what */
  skip(what) {
    this.#print(`   [skipped] ${what}`);
  }

  /** @param {string} text */
  say(text) {
    this.#print(text === '' ? '' : `   ${text}`);
  }
}
