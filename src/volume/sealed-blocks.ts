/** For rooms that know volumes and not the store: sealed blocks on their way from one node to another. */
export { renumberSealed } from '../store/sealed-blocks.js';
