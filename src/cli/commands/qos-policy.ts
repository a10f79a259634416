import { basename } from 'node:path';
import type { QosPolicy } from '../../ipc/generated/qos.js';
import { command } from '../command.js';
import { readDocumentFile } from '../document-file.js';
import type { Output } from '../output/output.js';
import { formatBurst, formatGuarantee, formatLimits, toSettingsView } from '../output/qos-text.js';
import type { Column } from '../output/table.js';
import { toIso } from '../output/volume-view.js';

const POLICY = { summary: 'name of the policy', required: true, completes: 'qos-policy' } as const;

export const qosCreate = command({
  verb: ['qos', 'create'],
  summary: 'make a policy of limits and guarantees from a JSON or YAML file',
  details: 'Then: gfs volume qos set VOLUME --policy NAME, or parameters.qos_policy in a storage class.',
  words: { file: { summary: 'the file; examples/qos-database.yaml is one', required: true, completes: 'file' } },
  options: {},
  async run({ file }, _options, session) {
    const document = await readDocumentFile(session.path(file), file, 'a policy');
    const made = await (await session.client()).qos.createPolicy({ document, fileName: basename(file) });
    session.output.answer(toPolicyView(made), () => `policy ${made.name} created`);
  },
});

export const qosList = command({
  verb: ['qos', 'list'],
  summary: 'show the policies of limits and guarantees',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const policies = await (await session.client()).qos.listPolicies();
    session.output.answer(policies.map(toPolicyView), () =>
      policies.length === 0
        ? 'no policies yet; make one with: gfs qos create FILE'
        : policyTable(policies, session.output),
    );
  },
});

export const qosGet = command({
  verb: ['qos', 'get'],
  summary: 'show one policy',
  words: { policy: POLICY },
  options: {},
  async run(words, _options, session) {
    const found = await (await session.client()).qos.getPolicy(words.policy);
    session.output.answer(toPolicyView(found), () =>
      session.output.facts([
        ['name', found.name],
        ['limits', formatLimits(found.settings)],
        ['burst', formatBurst(found.settings)],
        ['guaranteed', formatGuarantee(found.settings)],
        ['created', toIso(found.createdAtMs)],
      ]),
    );
  },
});

export const qosDelete = command({
  verb: ['qos', 'delete'],
  summary: 'remove a policy that no storage class names; volumes keep what they took from it',
  words: { policy: POLICY },
  options: {},
  async run(words, _options, session) {
    const name = await (await session.client()).qos.deletePolicy(words.policy);
    session.output.answer({ name }, () => `policy ${name} deleted`);
  },
});

function toPolicyView({ name, settings, createdAtMs }: QosPolicy): object {
  return { name, ...(settings === undefined ? {} : toSettingsView(settings)), createdAt: toIso(createdAtMs) };
}

function policyTable(policies: readonly QosPolicy[], output: Output): string {
  const columns: Column<QosPolicy>[] = [
    { title: 'NAME', value: (of) => of.name, widthMin: 12 },
    { title: 'LIMITS', value: (of) => formatLimits(of.settings) || '-', widthMin: 16 },
    { title: 'BURST', value: (of) => formatBurst(of.settings) || '-', dropOrder: 2 },
    { title: 'GUARANTEED', value: (of) => formatGuarantee(of.settings) || '-', dropOrder: 1 },
  ];
  return output.table(columns, policies);
}
