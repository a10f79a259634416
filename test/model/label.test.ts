import { describe, expect, it } from 'vitest';
import { checkLabels, matchesSelector, parseLabels, parseSelector } from '../../src/model/label.js';
import { ModelError } from '../../src/model/model-error.js';

describe('parseLabels', () => {
  it('takes keys with and without a prefix, and empty values', () => {
    expect(parseLabels(['app=db', 'example.com/tier=', 'v=1.0_a-B'])).toEqual({
      app: 'db',
      'example.com/tier': '',
      v: '1.0_a-B',
    });
  });

  it('takes names that JavaScript gives a meaning', () => {
    const labels = parseLabels(['constructor=a']);
    expect(Object.entries(labels)).toEqual([['constructor', 'a']]);
    expect(matchesSelector({}, labels)).toBe(false);
    expect(matchesSelector({}, { toString: 'x' })).toBe(false);
  });

  it.each([
    ['app', /no "=": write key=value/],
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
    expect(() => parseLabels([text])).toThrow(message);
    expect(() => parseLabels([text])).toThrow(ModelError);
  });

  it('refuses a key given twice, and too many labels', () => {
    expect(() => parseLabels(['a=1', 'a=2'])).toThrow(/twice/);
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${String(index)}`, '']));
    expect(() => {
      checkLabels(many);
    }).toThrow(/at most 64/);
  });
});

describe('selectors', () => {
  it('match when every label does', () => {
    const labels = { app: 'db', tier: 'gold' };
    expect(matchesSelector(labels, parseSelector('app=db, tier=gold'))).toBe(true);
    expect(matchesSelector(labels, parseSelector('app=db,tier=silver'))).toBe(false);
    expect(matchesSelector(labels, parseSelector('zone='))).toBe(false);
    expect(matchesSelector(labels, {})).toBe(true);
  });
});
