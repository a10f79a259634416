/** Takes the lock PATH, says what came of it, and keeps it until it is killed or its input ends. */
import { NativeFiles } from '../../src/io/native-files.js';
import { FileError } from '../../src/io/file-error.js';

try {
  await new NativeFiles().lock(process.argv[2] ?? '');
  console.log('LOCK');
  process.stdin.resume();
} catch (thrown) {
  console.log(thrown instanceof FileError ? thrown.code : String(thrown));
}
