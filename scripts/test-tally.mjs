/** @typedef {import('./test-reporter.mjs').TestEvent} TestEvent */

/**
 * @typedef {object} Tally
 * @property {number} passed
 * @property {number} failed Tests that failed, and everything else that went wrong.
 * @property {number} skipped
 * @property {string[]} troubles What went wrong outside of tests, one line each; each is counted in `failed`.
 * @property {{ name: string, file: string, note: string }[]} skips
 */

/**
 * Adds up a results file. A run that ended badly never adds up to success: whatever vitest did not report as a failed
 * test (it crashed, was killed, found no test, could not load its configuration) counts as one failure.
 * @param {string} results The file's text.
 * @param {number} status Exit status of vitest.
 * @returns {Tally}
 */
export function tallyOf(results, status) {
  /** @type {Tally} */
  const tally = { passed: 0, failed: 0, skipped: 0, troubles: [], skips: [] };
  let ended = false;
  for (const event of eventsIn(results)) {
    if (event.kind === 'end') ended = true;
    else if (event.kind === 'failure') tally.troubles.push(event.what);
    else if (event.state === 'passed') tally.passed += 1;
    else if (event.state === 'failed') tally.failed += 1;
    else {
      tally.skipped += 1;
      tally.skips.push({ name: event.name, file: event.file, note: event.note });
    }
  }
  const nothingWrongYet = tally.failed + tally.troubles.length === 0;
  if (!ended) tally.troubles.push(`the test run broke off (exit status ${status})`);
  else if (nothingWrongYet && tally.passed + tally.skipped === 0) tally.troubles.push('no test was found');
  else if (nothingWrongYet && status !== 0) tally.troubles.push(`the test run ended with exit status ${status}`);

  tally.failed += tally.troubles.length;
  return tally;
}

/**
 * The lines of a results file; the last one may be torn when the run was killed.
 * @param {string} results
 * @returns {TestEvent[]}
 */
function eventsIn(results) {
  return results
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** @param {Tally} tally */
export function tallyLine(tally) {
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
  return `${tally.passed} passed, ${tally.failed} failed${skipped}`;
}

/**
 * The skipped tests, each with its reason; those without one (left out by a name filter) are counted per file.
 * @param {Tally} tally
 */
export function skipReport(tally) {
  const lines = tally.skips.filter((skip) => skip.note !== '').map((skip) => `SKIPPED ${skip.name}: ${skip.note}`);
  /** @type {Map<string, number>} */
  const silent = new Map();
  for (const skip of tally.skips) {
    if (skip.note === '') silent.set(skip.file, (silent.get(skip.file) ?? 0) + 1);
  }
  for (const [file, count] of silent) lines.push(`SKIPPED ${count} in ${file}: no reason given`);
  return lines;
}
