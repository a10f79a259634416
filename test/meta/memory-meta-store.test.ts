import { MemoryMetaStore } from '../../src/meta/memory-meta-store.js';
import { ManualClock } from '../base/manual-clock.js';
import { describeMetaStore } from './meta-store-compliance.js';

describeMetaStore('MemoryMetaStore', (options) => {
  const clock = new ManualClock();
  return Promise.resolve({
    store: new MemoryMetaStore(options, { clock }),
    pass: (ms) => {
      clock.advance(ms);
      return Promise.resolve();
    },
  });
});
