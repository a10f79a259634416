import { describe, expect, it } from 'vitest';
import { checkLabels, matchesSelector, type Labels } from '../../src/model/label.js';
import { ModelError } from '../../src/model/model-error.js';

/** `a=1` as { a: '1' }. */
function label(text: string): Labels {
  const equals = text.indexOf('=');
  return Object.fromEntries([[text.slice(0, equals), text.slice(equals + 1)]]);
}

describe('labels', () => {
  it('takes keys with and without a prefix, and empty values', () => {
    checkLabels({ app: 'db', 'example.com/tier': '', v: '1.0_a-B' });
  });

  it('takes names that JavaScript gives a meaning', () => {
    const labels = label('constructor=a');
    checkLabels(labels);
    expect(matchesSelector({}, labels)).toBe(false);
    expect(matchesSelector({}, { toString: 'x' })).toBe(false);
  });

  it.each([
    ['=db', /has no name/],
    ['a/=db', /has no name/],
    ['-a=db', /letter or digit at both ends/],
    ['__proto__=a', /letter or digit at both ends/],
    ['a b=c', /not allowed/],
    ['a=b=c', /value "b=c" of label "a" is not allowed/],
    ['a=b c', /not allowed/],
    ['a=-', /not allowed/],
    ['A_B/c=d', /not a DNS name/],
    ['/c=d', /not a DNS name/],
    [`${'k'.repeat(64)}=v`, /64 characters: at most 63/],
    [`k=${'v'.repeat(64)}`, /64 characters: at most 63/],
    [`${'p'.repeat(254)}/k=v`, /not a DNS name/],
  ])('refuses %j and says why', (text, message) => {
    expect(() => checkLabels(label(text))).toThrow(message);
    expect(() => checkLabels(label(text))).toThrow(ModelError);
  });

  it('refuses too many labels', () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${String(index)}`, '']));
    expect(() => {
      checkLabels(many);
    }).toThrow(/at most 64/);
  });
});

describe('selectors', () => {
  it('match when every label does', () => {
    const labels = { app: 'db', tier: 'gold' };
    expect(matchesSelector(labels, { app: 'db', tier: 'gold' })).toBe(true);
    expect(matchesSelector(labels, { app: 'db', tier: 'silver' })).toBe(false);
    expect(matchesSelector(labels, { zone: '' })).toBe(false);
    expect(matchesSelector(labels, {})).toBe(true);
  });
});
