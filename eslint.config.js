import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Where the world may be reached directly: the one real clock. Everywhere else in src/ it is an argument (style 5). */
const REAL_CLOCK = 'src/base/system-clock.ts';

const WORLD_IS_AN_ARGUMENT = [
  ['MemberExpression[object.name="Date"][property.name="now"]', 'Date.now()'],
  ['MemberExpression[object.name="Math"][property.name="random"]', 'Math.random()'],
  ['MemberExpression[object.name="performance"][property.name="now"]', 'performance.now()'],
  ['MemberExpression[object.name="process"][property.name="hrtime"]', 'process.hrtime()'],
  ['NewExpression[callee.name="Date"][arguments.length=0]', 'new Date() without an argument'],
  ['CallExpression[callee.name="Date"]', 'Date()'],
  ['VariableDeclarator[id.type="ObjectPattern"][init.name=/^(Date|Math|performance)$/]', 'taking apart a global clock'],
].map(([selector, what]) => ({
  selector,
  message: `${what} hides an input: take a Clock or Random from the caller (base/clock.ts).`,
}));

export default defineConfig(
  { ignores: ['dist/', 'build/', 'coverage/', 'native/', 'src/ipc/generated/', '**/*.cjs', '.galleon-quickstart/'] },
  {
    files: ['**/*.{ts,js,mjs}'],
    extends: [tseslint.configs.strictTypeChecked],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-fallthrough': 'error',
      'no-constant-condition': ['error', { checkLoops: 'allExceptWhileTrue' }],
      'no-empty': ['error', { allowEmptyCatch: false }],
      'no-self-compare': 'error',
      'no-unreachable': 'error',
      'no-unsafe-finally': 'error',
      'no-sparse-arrays': 'error',
      'no-debugger': 'error',
      'no-template-curly-in-string': 'error',
      'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'] }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers and booleans read well in messages, and most of our messages carry them.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `() => void call()` for every one-line callback says nothing that `() => call()` does not.
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      // `Promise<void>` as a type argument is how a method that resolves to nothing is written.
      '@typescript-eslint/no-invalid-void-type': ['error', { allowInGenericTypeArguments: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }],
      // Element reads are typed without `undefined` (typed arrays on the hot path), so this rule would call the bounds
      // checks that we do write on ordinary arrays and records unnecessary.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // For the same reason a `!` after `Map.get` is the only place where it occurs; it states a rule that holds there.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Contracts (Closable, Files) are asynchronous even where one implementation has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: [REAL_CLOCK],
    rules: { 'no-restricted-syntax': ['error', ...WORLD_IS_AN_ARGUMENT] },
  },
  {
    // Commands for people print; JSON that they read is checked at run time, where types end.
    files: ['test/**/*.ts', 'scripts/**/*.{ts,mjs}'],
    rules: {
      // Answers of other programs and parsed JSON are `any`; a wrong guess fails the test that made it.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      // Fakes implement contracts with methods that have nothing to do.
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
