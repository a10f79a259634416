import type { Command } from './command.js';
import { completeCommand, completion } from './commands/completion.js';
import { daemonCheck, daemonConfig, daemonStatus, daemonStop } from './commands/daemon.js';
import { events } from './commands/events.js';
import { keyExportRecovery, keyImportRecovery, keyRotateData, keyRotateMaster, keyStatus } from './commands/key.js';
import { qosCreate, qosDelete, qosGet, qosList } from './commands/qos-policy.js';
import { snapshotCommands } from './commands/snapshot.js';
import { status } from './commands/status.js';
import { storageClassCreate, storageClassDelete, storageClassGet, storageClassList } from './commands/storage-class.js';
import { volumeExpand, volumeLabel, volumeProtect, volumeRename, volumeUnprotect } from './commands/volume-change.js';
import { volumeClone } from './commands/volume-clone.js';
import { volumeCreate } from './commands/volume-create.js';
import { volumeDelete, volumePurge, volumeRestore } from './commands/volume-delete.js';
import { volumeDecrypt, volumeEncrypt } from './commands/volume-encrypt.js';
import { volumeDiff } from './commands/volume-diff.js';
import { volumeExport, volumeKick, volumeUnexport } from './commands/volume-export.js';
import { volumeExportImage } from './commands/volume-export-image.js';
import { volumeImport } from './commands/volume-import.js';
import { volumeGet, volumeList } from './commands/volume-list.js';
import { volumeQosClear, volumeQosGet, volumeQosSet } from './commands/volume-qos.js';
import { volumeScrub, volumeScrubCancel, volumeScrubStatus } from './commands/volume-scrub.js';
import { volumeReceive, volumeSend } from './commands/volume-send.js';
import { volumeStats } from './commands/volume-stats.js';

/** Every command, in the order of the help text. */
const VERBS: readonly Command[] = [
  status,
  volumeCreate,
  volumeList,
  volumeGet,
  volumeExport,
  volumeUnexport,
  volumeKick,
  volumeStats,
  volumeQosSet,
  volumeQosGet,
  volumeQosClear,
  volumeExpand,
  volumeRename,
  volumeLabel,
  volumeProtect,
  volumeUnprotect,
  volumeEncrypt,
  volumeDecrypt,
  volumeDelete,
  volumeRestore,
  volumePurge,
  volumeScrub,
  volumeScrubStatus,
  volumeScrubCancel,
  volumeImport,
  volumeExportImage,
  volumeClone,
  ...snapshotCommands(['volume', 'snapshot']),
  volumeDiff,
  volumeSend,
  volumeReceive,
  ...snapshotCommands(['snapshot']),
  storageClassList,
  storageClassGet,
  storageClassCreate,
  storageClassDelete,
  keyStatus,
  keyRotateMaster,
  keyRotateData,
  keyExportRecovery,
  keyImportRecovery,
  qosList,
  qosGet,
  qosCreate,
  qosDelete,
  daemonStatus,
  daemonConfig,
  daemonStop,
  daemonCheck,
  events,
  completion,
];

export const COMMANDS: readonly Command[] = [...VERBS, completeCommand(VERBS)];
