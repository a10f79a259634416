/**
 * Who may import whom. The room table (scripts/room-table.json, section 10 of the design, repeated for readers in
 * src/README.md) is the only list of rooms; every rule below is generated from it or stands beside it.
 * scripts/check-dependencies.mjs runs this and checks that it read every file.
 */
const table = require('./scripts/room-table.json');

const rooms = Object.keys(table);

/** A file may import its own room and those that the table grants. */
const roomRules = rooms.map((room) => ({
  name: `room-${room}`,
  comment: `${room} may import ${table[room].join(', ') || 'no other room'}`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: { path: '^src/', pathNot: `^src/(?:${[room, ...table[room]].join('|')})/` },
}));

module.exports = {
  forbidden: [
    ...roomRules,
    {
      name: 'main-room',
      comment: 'main decides between daemon and cli, and loads one of them lazily',
      severity: 'error',
      from: { path: '^src/main\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(?:cli|daemon|base)/' },
    },
    {
      name: 'main-lazy',
      comment: 'main loads one side only: a static import would load both',
      severity: 'error',
      from: { path: '^src/main\\.ts$' },
      to: { path: '^src/(?:cli|daemon)/', dynamic: false },
    },
    {
      name: 'journal-apart-from-map',
      comment: 'journal/ does not know map/ nor the store that joins them',
      severity: 'error',
      from: { path: '^src/store/journal/' },
      to: { path: '^src/store/(?:map/|store\\.ts$)' },
    },
    {
      name: 'map-apart-from-journal',
      comment: 'map/ does not know journal/ nor the store that joins them',
      severity: 'error',
      from: { path: '^src/store/map/' },
      to: { path: '^src/store/(?:journal/|store\\.ts$)' },
    },
    {
      name: 'cli-speaks-the-api-only',
      comment: 'the command line reaches a node through the control API, never through its code',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/(?:control|daemon|store|volume|nbd|meta|crypto)/', reachable: true },
    },
    {
      name: 'no-cycle',
      comment: 'what imports itself in a circle cannot be understood or tested apart',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'tests-are-for-tests',
      comment: 'only tests import test files',
      severity: 'error',
      from: { pathNot: '^test/' },
      to: { path: '^test/' },
    },
    {
      name: 'src-stands-alone',
      comment: 'the product does not import the scripts that build it',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^scripts/' },
    },
    {
      name: 'shipped-packages-only',
      comment: 'what src/ imports must be in "dependencies", or it is missing where we are installed',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], pathNot: 'node_modules/@types/' },
    },
    {
      name: 'no-unresolvable',
      comment: 'an import that leads nowhere',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(?:dist|build|coverage)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
