import type { Removal } from '../../control/volume-remover.js';
import type { CreateRequest } from '../../control/volume-creator.js';
import type { ExportView, VolumeView } from '../../control/volume-view.js';
import type { Sample } from '../../control/stats-sampler.js';
import type {
  CreateVolumeRequest,
  DeleteVolumeResponse,
  StatsSample,
  Volume,
  VolumeExport,
} from '../generated/control.js';

/** Nothing in it has been checked: control does that. */ import { toQos } from './qos-service.js';

export function createRequestOf(message: CreateVolumeRequest): CreateRequest {
  const { name, sizeBytes, storageClass, volumeType, replicas, labels, blockBytes, qos } = message;
  return { name, sizeBytes, storageClass, volumeType, replicas, labels, blockBytes, qos };
}

export function toVolume(view: VolumeView): Volume {
  return {
    ...view,
    replicas: { ...view.replicas },
    labels: { ...view.labels },
    export: view.export === null ? undefined : toExport(view.export),
    qos: toQos(view.qos),
  };
}

export function toExport(view: ExportView): VolumeExport {
  return { ...view, connections: view.connections.map((connection) => ({ ...connection })) };
}

export function toDeleteResponse({ id, name, outcome, detail }: Removal): DeleteVolumeResponse {
  return { id, name, outcome, detail };
}

export function toStatsSample(sample: Sample): StatsSample {
  return { ...sample, volumes: sample.volumes.map((volume) => ({ ...volume, qos: toQos(volume.qos) })) };
}
