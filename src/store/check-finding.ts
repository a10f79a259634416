/** One thing that a check has found. */
export interface CheckFinding {
  /** damage: something is lost, or may be. note: worth knowing; nothing is wrong. */
  readonly level: 'damage' | 'note';
  /** `segment 7`, `layer 3`, `map`, `node.json`, `volume web-data`. */
  readonly subject: string;
  /** What is wrong, a sentence for people. */
  readonly what: string;
  /** What can still be read, and what to do; '' where the first says it all. */
  readonly reads: string;
}

export type ReportFinding = (finding: CheckFinding) => void;

export function damage(subject: string, what: string, reads = ''): CheckFinding {
  return { level: 'damage', subject, what, reads };
}

export function note(subject: string, what: string): CheckFinding {
  return { level: 'note', subject, what, reads: '' };
}
