// A vitest reporter that writes one line per result as it comes, so that what ran is known even if the run is cut short.
import { appendFileSync } from 'node:fs';

/** Names the file that results are appended to. */
export const RESULTS_VARIABLE = 'GALLEON_TEST_RESULTS';

/**
 * One line of the results file.
 * @typedef {{ kind: 'test', state: string, name: string, file: string, note: string }
 *   | { kind: 'failure', what: string }
 *   | { kind: 'end' }} TestEvent
 */

/** @typedef {import('vitest/node').Reporter} Reporter */

/** @implements {Reporter} */
export default class TestReporter {
  #path = process.env[RESULTS_VARIABLE] ?? '';

  /** @param {TestEvent} event */
  #write(event) {
    if (this.#path !== '') appendFileSync(this.#path, `${JSON.stringify(event)}\n`);
  }

  /** @param {import('vitest/node').TestCase} testCase */
  onTestCaseResult(testCase) {
    const result = testCase.result();
    const note = result.state === 'skipped' ? (result.note ?? '') : '';
    const file = testCase.module.relativeModuleId;
    this.#write({ kind: 'test', state: result.state, name: testCase.fullName, file, note });
  }

  /**
   * What failed outside of any test: a file that could not be loaded, a hook of a file or suite.
   * @param {import('vitest/node').TestModule} testModule
   */
  onTestModuleEnd(testModule) {
    for (const error of testModule.errors()) {
      this.#write({ kind: 'failure', what: `${testModule.relativeModuleId}: ${error.message}` });
    }
    for (const suite of testModule.children.allSuites()) {
      for (const error of suite.errors()) this.#write({ kind: 'failure', what: `${suite.fullName}: ${error.message}` });
    }
  }

  /**
   * @param {ReadonlyArray<import('vitest/node').TestModule>} _modules
   * @param {ReadonlyArray<{ message: string }>} unhandledErrors
   */
  onTestRunEnd(_modules, unhandledErrors) {
    for (const error of unhandledErrors) this.#write({ kind: 'failure', what: `unhandled: ${error.message}` });
    this.#write({ kind: 'end' });
  }
}
