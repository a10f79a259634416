import type { ChannelCredentials, ClientOptions } from '@grpc/grpc-js';
import type { ClientChannel, UnaryMethod } from './client-channel.js';
import {
  type CreateQosPolicyRequest,
  type DeleteQosPolicyResponse,
  type ListQosPoliciesRequest,
  type ListQosPoliciesResponse,
  QosClient,
  type QosPolicy,
  type QosPolicyReference,
  type SetQosRequest,
  type VolumeQosState,
} from './generated/qos.js';

/** The service Qos of qos.proto as promises, over the channel of a ControlClient. */
export class QosCalls {
  readonly #client: QosClient;
  readonly #channel: ClientChannel;

  constructor(address: string, credentials: ChannelCredentials, options: ClientOptions, channel: ClientChannel) {
    this.#client = new QosClient(address, credentials, options);
    this.#channel = channel;
  }

  /** Changes what a volume has; what is not named stays. */
  set(request: SetQosRequest): Promise<VolumeQosState> {
    return this.#channel.unary((r, m, o, done) => this.#client.set(r, m, o, done), request);
  }

  /** What a volume has, and how its requests fare. */
  get(volume: string): Promise<VolumeQosState> {
    return this.#channel.unary((r, m, o, done) => this.#client.get(r, m, o, done), { volume });
  }

  /** Takes everything away. */
  clear(volume: string): Promise<VolumeQosState> {
    return this.#channel.unary((r, m, o, done) => this.#client.clear(r, m, o, done), { volume });
  }

  /** From the text of a JSON or YAML document, which the daemon parses and checks. */
  createPolicy(request: CreateQosPolicyRequest): Promise<QosPolicy> {
    return this.#channel.unary((r, m, o, done) => this.#client.createPolicy(r, m, o, done), request);
  }

  /** By name. */
  async listPolicies(): Promise<QosPolicy[]> {
    const call: UnaryMethod<ListQosPoliciesRequest, ListQosPoliciesResponse> = (r, m, o, done) =>
      this.#client.listPolicies(r, m, o, done);
    return (await this.#channel.unary(call, {})).policies;
  }

  getPolicy(name: string): Promise<QosPolicy> {
    return this.#channel.unary((r, m, o, done) => this.#client.getPolicy(r, m, o, done), { name });
  }

  /** Answers its name. */
  async deletePolicy(name: string): Promise<string> {
    const call: UnaryMethod<QosPolicyReference, DeleteQosPolicyResponse> = (r, m, o, done) =>
      this.#client.deletePolicy(r, m, o, done);
    return (await this.#channel.unary(call, { name })).name;
  }
}
