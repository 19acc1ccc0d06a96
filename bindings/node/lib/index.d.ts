// index.d.ts - the types of the package: what is said here of each function holds in JavaScript as well.

import type { DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

// ---- errors -------------------------------------------------------------------------------------------------------

/** gRPC's status codes. `Status[5]` is "NOT_FOUND". */
export enum Status {
  OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
  RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS,
  UNAUTHENTICATED,
}

/** How far the request of a call got. Unsent and unprocessed ones may be repeated. */
export type Fate = "unsent" | "unprocessed" | "unknown" | "processed";

/** Whose fault a failure is. */
export type Fault = "none" | "caller" | "network" | "callee" | "overload";

/** A failed call: what a call rejects with, and what a handler throws for its caller to see. */
export class RpcError extends Error {
  /** code: 1 to 16; TypeError for others. message: a sentence for the caller. */
  constructor(code: Status, message?: string, options?: { trailers?: MetadataInit; cause?: unknown });
  readonly code: Status;
  readonly trailers: Metadata;
  /** undefined: not of a call of ours. */
  readonly fate?: Fate;
  readonly fault?: Fault;
}

// ---- metadata -----------------------------------------------------------------------------------------------------

/** Text, or bytes where the name ends in -bin. */
export type MetadataValue = string | Uint8Array;
export type MetadataInit =
  | Iterable<readonly [string, MetadataValue]>
  | Record<string, MetadataValue | readonly MetadataValue[]>;

/**
 * Pairs of name and value, in order; a name may come more than once. Names are of [0-9a-z_.-], and but for
 * grpc-retry-pushback-ms do not begin with grpc-; values are printable ASCII, or any bytes if the name ends in -bin.
 * TypeError where others are to be sent.
 */
export class Metadata implements Iterable<[string, MetadataValue]> {
  static of(given?: MetadataInit): Metadata;
  /** The first value of that name. */
  get(name: `${string}-bin`): Buffer | undefined;
  get(name: string): string | undefined;
  /** All values of that name. */
  getAll(name: `${string}-bin`): Buffer[];
  getAll(name: string): string[];
  readonly size: number;
  [Symbol.iterator](): Iterator<[string, MetadataValue]>;
}

// ---- calling ------------------------------------------------------------------------------------------------------

/** Do not compress what holds a secret beside what a stranger may choose: its size would tell. */
export type Compression = "gzip" | "zstd";

export interface CallOptions {
  /** Milliseconds; none: as long as the call that is being handled has left, else for ever. */
  timeout?: number;
  /** Ends the call, at the server too. */
  signal?: AbortSignal;
  metadata?: MetadataInit;
  /** Waits for an instance until the deadline, rather than fail with UNAVAILABLE when there is none. */
  waitForReady?: boolean;
  /** Being executed twice does no harm. */
  idempotent?: boolean;
  /** Of the requests, whatever the channel's compression is. */
  compression?: Compression;
  /** Messages are Uint8Arrays, as they are. Of a request that is one it need not be said. */
  bytes?: boolean;
  /** Is told of the metadata that came before the answer, if any did. */
  onHeaders?: (headers: Metadata) => void;
  /** Is told of the metadata that came after the answer, or with the error. */
  onTrailers?: (trailers: Metadata) => void;
  /** Around this call, inside of those of its service and its channel; the first is the outermost. */
  filters?: Filters;
}

/**
 * A stream, for its caller: iterate over the answers, or send and receive. Leaving the loop ends the call, and so does
 * the garbage collector when nobody refers to the stream any more.
 */
export interface Stream<Request, Answer> extends AsyncIterableIterator<Answer> {
  /** The next answer; undefined: there are no more. Rejects with an RpcError if the call failed. */
  receive(): Promise<Answer | undefined>;
  /**
   * Sends a message, and waits while the server does not read. False: the server has ended the call, and well. Rejects
   * with an RpcError if the call failed, with an Error after end().
   */
  send(message: Request): Promise<boolean>;
  /** Tells the server that no more messages come. Answers still may. */
  end(): void;
  /** Ends the call, at the server too. Harmless when it has ended. */
  cancel(): void;
  /** The single answer to a stream of requests. */
  answer(): Promise<Answer>;
  /** The metadata that comes before the first answer. Rejects with an RpcError if it never does. */
  headers(): Promise<Metadata>;
  /** The metadata that came after the last answer; undefined until the stream has ended. */
  readonly trailers: Metadata | undefined;
}

/** A method of a service that is called by name. Values are those of JSON. */
export interface NamedMethod {
  /** One answer. An iterator in place of the request is a stream of requests. Rejects with an RpcError. */
  <Answer = any>(request?: unknown, options?: CallOptions): Promise<Answer>;
  /** Many answers. */
  stream<Answer = any>(request?: unknown, options?: CallOptions): Stream<any, Answer>;
  /** A stream both ways with nothing sent yet. */
  open<Request = any, Answer = any>(options?: CallOptions): Stream<Request, Answer>;
}

/** Each property is a method of the service. Names such as "then": channel.call("/service/then"). */
export type NamedService = { readonly [method: string]: NamedMethod };

type Request<M extends DescMethod> = MessageInitShape<M["input"]>;
type Answer<M extends DescMethod> = MessageShape<M["output"]>;
type Iterables<M extends DescMethod> = AsyncIterable<Request<M>> | Iterable<Request<M>>;

type Client<M extends DescMethod> = {
  unary: (request?: Request<M>, options?: CallOptions) => Promise<Answer<M>>;
  server_streaming: (request?: Request<M>, options?: CallOptions) => Stream<never, Answer<M>>;
  client_streaming: {
    (requests: Iterables<M>, options?: CallOptions): Promise<Answer<M>>;
    open(options?: CallOptions): Stream<Request<M>, Answer<M>>;
  };
  /** Without requests: nothing is sent yet. */
  bidi_streaming: (requests?: Iterables<M>, options?: CallOptions) => Stream<Request<M>, Answer<M>>;
}[M["methodKind"]];

/** A service of protobuf. Requests may be plain objects. */
export type ProtoService<S extends DescService> = { readonly [K in keyof S["method"]]: Client<S["method"][K]> };

// ---- filters ------------------------------------------------------------------------------------------------------

/**
 * A call as one filter sees it, of a client or at a server. What it changes is seen by the filters inside of it and by
 * the call itself; what those change does not come back.
 */
export interface FilteredCall {
  /** The path of the method: "/hello/greet". */
  readonly method: string;
  /** Whether there are many messages, in either direction: next() is called once for such a call. */
  readonly isStream: boolean;
  /** What the handler has, on a server; undefined on a client. */
  readonly context: Context | undefined;
  /** On a server who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" on a client. */
  readonly peer: string;
  /** What goes to the server beside the request, or has come from the client. */
  get metadata(): Metadata;
  set metadata(metadata: MetadataInit);
  /** One more pair, after those that there are. */
  addMetadata(name: string, value: string | Uint8Array): void;
  /**
   * Milliseconds; undefined: for ever. On a client it may be set, but gets no longer than the caller has said; on a
   * server it is what the caller has left.
   */
  timeout: number | undefined;
  /**
   * The single request, as the caller gave it or the handler is to get it; undefined of a stream of requests. On a
   * server it throws an RpcError if the request is malformed.
   */
  request: any;
  /** change is called for each request that passes, also a single one; what it returns goes on in its place. */
  onRequest(change: (message: any) => unknown): void;
  /** The same for each answer. Both are to be said before next(). */
  onAnswer(change: (message: any) => unknown): void;
  /** The metadata that came before the answer, on a client and after next(). */
  readonly headers: Metadata;
  /** After next(), the metadata that came after the answer or with the error; on a server, that goes. */
  readonly trailers: Metadata;
}

/**
 * A function around calls: next() runs what is inside of it (the other filters, then the call itself) to the end of the
 * call, and resolves with the single answer. What the filter returns is the single answer, what it throws is what the
 * call rejects with. Without next() it answers by itself; a stream of answers is empty then.
 */
export type Filter = (call: FilteredCall, next: () => Promise<any>) => unknown;
export type Filters = Filter | readonly Filter[];

/** Puts filters around all calls of service(), inside of those that there are. TypeError for what is none. */
export function use(...filters: Filter[]): void;

/** What each call of a service has, unless it says otherwise. */
export type ServiceOptions = Omit<CallOptions, "signal" | "onHeaders" | "onTrailers">;

/** Files (PEM) for the tls:// addresses of a server or a channel. They are read again when they have changed. */
export interface TLS {
  /** Ours, with its intermediates; a server must have one. */
  certificate?: string;
  /** None: in the same file. */
  key?: string;
  /** Who may vouch for the peer; none: the system's, and on a server nobody is asked. */
  authorities?: string;
  /** Of a channel: what the server's certificate must be for; none: the host of the address. */
  serverName?: string;
}

/** Sizes are bytes, times milliseconds; 0 is the default. */
export interface ChannelOptions {
  /** Of a response at most; 4 MiB. */
  maxMessage?: number;
  /** Pings a server that was silent for so long, at least 10,000; never. */
  keepalive?: number;
  /** The connection is lost if nothing comes within so long after; 20,000. */
  keepaliveTimeout?: number;
  /** Also without calls. */
  keepaliveAlways?: boolean;
  /** Without calls for so long, connections are closed until the next one; 30 minutes. */
  maxIdle?: number;
  /** Of requests; none. */
  compression?: Compression;
  tls?: TLS;
  /**
   * What is done between a name and its instances: "balancer=round_robin: retry:?tries=5", or gRPC's service config, or
   * "file:/path" of one. What it does not say is as NEBULA_POLICY says.
   */
  policy?: string;
  /** Around all calls; the first is the outermost. */
  filters?: Filters;
}

/** A way to services. It is closed by close(), or when nobody refers to it any more. */
export interface Channel {
  readonly target: string;
  /** A method by its name, "hello.greet" or "/hello/greet": one answer. TypeError if it is no method's name. */
  call<Answer = any>(method: string, request?: unknown, options?: CallOptions): Promise<Answer>;
  /** Many answers. An iterator in place of the request is a stream of requests. */
  stream<Answer = any>(method: string, request?: unknown, options?: CallOptions): Stream<any, Answer>;
  /** A stream both ways with nothing sent yet. */
  open<Request = any, Answer = any>(method: string, options?: CallOptions): Stream<Request, Answer>;
  service(name: string, options?: ServiceOptions): NamedService;
  service<S extends DescService>(description: S, options?: ServiceOptions): ProtoService<S>;
  /** Drops the connections; calls that run end with CANCELLED. Harmless when repeated. */
  close(): void;
}

/**
 * A channel to nebula://name (one service), to nebula: (each call names its service), or to an address:
 * tcp://host:port, tls://host:port, unix:/path, mem:name. It connects when a call needs it. Throws an Error whose code
 * says what the engine refuses: "NEBULA_E_ADDRESS", "NEBULA_E_TLS", ...
 */
export function connect(target?: string, options?: ChannelOptions): Channel;

/** A service of whoever announces it, by its name or by its description of protobuf-es. */
export function service(name: string, options?: ServiceOptions): NamedService;
export function service<S extends DescService>(description: S, options?: ServiceOptions): ProtoService<S>;

// ---- serving ------------------------------------------------------------------------------------------------------

/** What a handler may know and do about its call besides its request. */
export interface Context {
  /** The path of the method: "/hello/greet". */
  readonly method: string;
  /** What the caller sent beside the request. */
  readonly metadata: Metadata;
  /** Who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" once the call is over. */
  readonly peer: string;
  /** Milliseconds until the deadline, never negative; undefined: there is none. */
  readonly timeRemaining: number | undefined;
  /** Whether nobody waits for the answer any more: the caller gave up or left, or the deadline has passed. */
  readonly cancelled: boolean;
  /** Aborts then; its reason is an RpcError that says why. */
  readonly signal: AbortSignal;
  /** Whether the answers from here on are compressed, where the server has a compression. */
  compress: boolean;
  /** Sends metadata ahead of the answer: at most once, and before the first one. */
  sendHeaders(metadata: MetadataInit): void;
  /** Metadata to go after the answer, or the last of them, or with an error that has none. The last one set counts. */
  setTrailers(metadata: MetadataInit): void;
}

/** What checks a value: of zod, valibot, ArkType and others (standardschema.dev). */
export interface StandardSchema<T = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => any;
    readonly types?: { readonly input: any; readonly output: T } | undefined;
  };
}

/**
 * request: what requests must be; others are refused before the handler runs. schema: JSON Schema of the messages, of which
 * callers are told: what a request is not, they are refused before it is sent. bytes: messages are Uint8Arrays.
 */
export interface MethodOptions<T> {
  request?: StandardSchema<T>;
  schema?: { request?: object | boolean; response?: object | boolean };
  bytes?: boolean;
}

type Many<T> = AsyncIterable<T> | Iterable<T>;
type Awaitable<T> = T | Promise<T>;

type Unary<In, Out> = (request: In, context: Context) => Awaitable<Out>;
type ServerStream<In, Out> = (request: In, context: Context) => Many<Out>;
type ClientStream<In, Out> = (requests: AsyncIterable<In>, context: Context) => Awaitable<Out>;
type Bidi<In, Out> = (requests: AsyncIterable<In>, context: Context) => Many<Out>;

/** A handler with its shape. */
export interface Handler {
  readonly shape: number;
}

/** One request, one answer: what a function is anyway. */
export function unary<In = any, Out = any>(handler: Unary<In, Out>): Handler;
export function unary<In = any, Out = any>(options: MethodOptions<In>, handler: Unary<In, Out>): Handler;
/** One request, many answers: what a generator is anyway. */
export function serverStream<In = any, Out = any>(handler: ServerStream<In, Out>): Handler;
export function serverStream<In = any, Out = any>(options: MethodOptions<In>, handler: ServerStream<In, Out>): Handler;
/** Many requests, one answer. */
export function clientStream<In = any, Out = any>(handler: ClientStream<In, Out>): Handler;
export function clientStream<In = any, Out = any>(options: MethodOptions<In>, handler: ClientStream<In, Out>): Handler;
/** Many of both. */
export function bidi<In = any, Out = any>(handler: Bidi<In, Out>): Handler;
export function bidi<In = any, Out = any>(options: MethodOptions<In>, handler: Bidi<In, Out>): Handler;

/** By name: functions, generators, and what unary, serverStream, clientStream and bidi have made of others. */
export type NamedHandlers = Record<string, Handler | ((request: any, context: Context) => unknown)>;

type ProtoHandler<M extends DescMethod> = {
  unary: Unary<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  server_streaming: ServerStream<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  client_streaming: ClientStream<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
  bidi_streaming: Bidi<MessageShape<M["input"]>, MessageInitShape<M["output"]>>;
}[M["methodKind"]];

/** Methods without a handler are answered with UNIMPLEMENTED. */
export type ProtoHandlers<S extends DescService> = { [K in keyof S["method"]]?: ProtoHandler<S["method"][K]> };

/** A service to be served: under a name, with plain values as messages; or as protobuf-es describes it. */
export interface Service {
  readonly name: string;
}

/** TypeError for what cannot be served. */
export const Service: {
  new (name: string, handlers: NamedHandlers, options?: ServedOptions): Service;
  new <S extends DescService>(description: S, handlers: ProtoHandlers<S>, options?: ServedOptions): Service;
};

/** filters: around the calls of the service, inside of those of the server. */
export interface ServedOptions {
  filters?: Filters;
}

/** Sizes are bytes, times milliseconds; 0 is the default. */
export interface ServerOptions {
  /** tcp://host:port (0: any port), tls://host:port, unix:/path, mem:name; none: found by name on this host. */
  address?: string | string[];
  /** Names to register; none: those of the services if there is no address, else none. */
  announce?: string | string[];
  /** Of tls:// addresses. */
  tls?: TLS;
  /** Of a request at most; 4 MiB. */
  maxMessage?: number;
  /** Calls of one connection at a time; 1,000. */
  maxStreams?: number;
  /** Beyond, the oldest idle one is closed; by the process's limit of descriptors. */
  maxConnections?: number;
  /** Pings a client that was silent for so long; 2 hours. */
  keepalive?: number;
  /** Closes if nothing comes within so long after; 20,000. */
  keepaliveTimeout?: number;
  /** Apart clients' pings must be; 5 minutes, 2 hours without calls. */
  minPing?: number;
  /** A connection without calls for so long is drained; never. */
  maxIdle?: number;
  /** Any connection is drained at this age, +-10 %; never. */
  maxAge?: number;
  /** And cut off so long after; never. */
  maxAgeGrace?: number;
  /** Of answers, to callers that accept it; none. */
  compression?: Compression;
  /** That running calls get at the end; 10,000. */
  drainTimeout?: number;
  /** Is told of what handlers throw that is no RpcError; none: the console is. */
  onError?: (error: unknown, context: Context) => void;
  /** Around all calls; the first is the outermost. */
  filters?: Filters;
}

export interface Server {
  readonly services: readonly Service[];
  /** The addresses in use, with the ports that were chosen. */
  readonly urls: string[];
  /** What grpc.health.v1 says of a service; "" is the server as a whole. */
  setHealth(isServing: boolean, service?: string): void;
  /** Withdraws, sends clients elsewhere, and waits for running calls; those that last longer are ended. */
  drain(timeout?: number): Promise<void>;
  /** Stops at once: calls that run are cut off. Harmless when repeated. */
  close(): void;
}

/**
 * A server that runs: whoever looks on this host finds it. Rejects with a TypeError for options that make no sense,
 * with an Error whose code says what the engine refuses ("NEBULA_E_ADDRESS", ...).
 */
export function serve(services: Service | Service[], options?: ServerOptions): Promise<Server>;

/**
 * Serves until SIGINT or SIGTERM. Then it withdraws, lets running calls end, and returns; a second signal ends the
 * process at once. Prints one line per service when all can be called. Rejects as serve() does.
 */
export function run(services: Service | Service[], options?: ServerOptions): Promise<void>;

/** The call that is being handled; undefined outside of handlers. Calls made for it end with it or by its deadline. */
export function currentCall(): Context | undefined;

/** Runs a function whose calls inherit nothing from the call that is being handled: for what is to outlive it. */
export function detached<T>(work: () => T): T;

// ---- metrics ------------------------------------------------------------------------------------------------------

/** How long things took, in seconds. */
export interface Histogram {
  count: number;
  sum: number;
  /** One more than there are bounds, each alone; empty where only count and sum are kept. */
  buckets: number[];
}

/** One value of a metric. What makes no difference for the metric is not there. */
export interface MetricPoint {
  target?: string;
  method?: string;
  status?: string;
  node?: string;
  value?: number;
  histogram?: Histogram;
}

/** One instance, as a channel sees it: Node of proto/nebula/v1/admin.proto. */
export interface NodeState {
  id: string;
  address: string;
  /** "usable", or what is in the way. */
  state: string;
  zone?: string;
  /** Why it could not be reached the last time. */
  trouble?: string;
  weight: number;
  in_flight: number;
  /** Seconds, as the balancer sees it; 0: not known. */
  latency: number;
  picks: number;
  attempts: number;
  failures: number;
  isolations: number;
  ejections: number;
  /** Seconds, of the last connection. */
  connect_time: number;
  /** Digest of its methods and their messages, if it has said one. */
  description?: string;
}

export interface Metrics {
  /** Upper bounds of the buckets of all histograms, in seconds. One more bucket is for what took longer. */
  bounds: number[];
  metrics: { name: string; unit: string; points: MetricPoint[] }[];
  channels: { target: string; loop: number; trouble?: string; waiting: number; nodes: NodeState[] }[];
}

/** What this process has counted since its first call, on all of its threads. docs/metrics.md has the names. */
export function metrics(): Promise<Metrics>;
