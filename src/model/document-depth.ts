import { Lexer, Parser } from 'yaml';
import { CLASS_DOCUMENT_DEPTH_MAX } from './limits.js';

/**
 * Whether a YAML or JSON text puts more than CLASS_DOCUMENT_DEPTH_MAX things into one another. To be asked before such a
 * text is composed: the composer calls itself for each level, and a stack that runs out in the wrong place (while a
 * regular expression is being compiled) ends the process instead of throwing. The parser below has a stack of its own.
 */
export function isTooDeep(text: string): boolean {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    // Finished documents, whose depth was seen on the way.
    Array.from(parser.next(lexeme));
    if (parser.stack.length > CLASS_DOCUMENT_DEPTH_MAX) return true;
  }
  return false;
}
