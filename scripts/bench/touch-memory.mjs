// Takes memory in steps, touches every page of it and gives it back by ending: `touch-memory.mjs BYTES`.
const STEP_BYTES = 256 * 1024 * 1024;
const wanted = Number(process.argv[2]);
if (!Number.isSafeInteger(wanted) || wanted <= 0) {
  console.error('touch-memory: BYTES');
  process.exit(2);
}
const held = [];
for (let left = wanted; left > 0; left -= STEP_BYTES) {
  // Zeros would stay the kernel's one page of zeros until they are written.
  held.push(Buffer.allocUnsafeSlow(Math.min(left, STEP_BYTES)).fill(1));
}
console.log(held.length);
