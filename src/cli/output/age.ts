const STEPS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** `3d`, `5h`, `12m`, `0s`: how old something is, in its largest whole unit. */
export function formatAge(ageMs: number): string {
  for (const [unit, unitMs] of STEPS) {
    if (ageMs >= unitMs) return `${String(Math.floor(ageMs / unitMs))}${unit}`;
  }
  return '0s';
}
