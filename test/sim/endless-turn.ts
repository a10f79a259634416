/** A program whose one turn never ends: the watchdog's test runs it. */
import { Watchdog } from './watchdog.js';

function turnForEver(): never {
  for (let n = 0; ; n += 1) if (n < 0) throw new Error('never');
}

const watchdog = new Watchdog({ patienceMs: 500 });
watchdog.at(4294967295, 3, 9);
// The thread of the watchdog needs some turns of this one to start. Until it has, something must keep the process alive.
const timer = setInterval(() => undefined, 1000);
void watchdog.ready.then(() => {
  clearInterval(timer);
  turnForEver();
});
