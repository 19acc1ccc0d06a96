// types.ts - the package as TypeScript has it: tsc takes each line, and refuses each that follows @ts-expect-error.
import {
  Metadata, RpcError, Service, Status, bidi, clientStream, connect, currentCall, detached, run, serve, serverStream,
  service, unary, use, type Fate, type Filter, type Stream,
} from "nebula";
import { z } from "zod";

import { Echo, type Message } from "./echo_pb.js";

async function calls(): Promise<void> {
  const hello = service("hello", { timeout: 500 });
  const options = { signal: AbortSignal.timeout(1), metadata: { tenant: "a" } };
  const greeting = await hello.greet<string>({ name: "Ada" }, options);
  greeting.toUpperCase();
  // @ts-expect-error a number has no such method
  (await hello.count<number>()).toUpperCase();
  // @ts-expect-error no such option
  await hello.greet({}, { timout: 1 });
  for await (const line of hello.chat.stream<string>(["a"].values())) line.length;
  const open: Stream<string, number> = hello.chat.open<string, number>();
  await open.send("a");
  // @ts-expect-error it takes strings
  await open.send(1);
  const next: number | undefined = await open.receive();
  next?.toFixed();

  const channel = connect("tcp://127.0.0.1:1", { compression: "zstd", tls: { authorities: "ca.pem" } });
  // @ts-expect-error no such compression
  connect("tcp://127.0.0.1:1", { compression: "lzma" });
  const echo = channel.service(Echo);
  const answer: Message = await echo.say({ text: "a", number: 1n });
  answer.raw.byteLength;
  // @ts-expect-error no such field
  await echo.say({ txt: "a" });
  // @ts-expect-error no such method
  echo.sya;
  for await (const { number } of echo.repeat({ number: 3n })) number + 1n;
  const joined = await echo.join([{ text: "a" }, {}]);
  joined.text.length;
  const chat = echo.chat();
  await chat.send({ text: "a" });
  // @ts-expect-error a message of Echo has no such field
  await chat.send({ name: "a" });
  channel.close();
}

async function errors(): Promise<void> {
  try {
    await calls();
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    const fate: Fate | undefined = error.fate;
    const last: string | undefined = error.trailers.get("last");
    const raw: Buffer | undefined = error.trailers.get("raw-bin");
    if (error.code === Status.NOT_FOUND && fate === "processed") console.log(Status[error.code], last, raw);
    // @ts-expect-error no such fate
    error.fate === "lost";
  }
}

const person = z.strictObject({ name: z.string() });

const named = new Service("hello", {
  greet: unary({ request: person }, ({ name }, context) => {
    context.signal.throwIfAborted();
    context.sendHeaders(Metadata.of([["a", "b"]]));
    return name.toUpperCase();
  }),
  // @ts-expect-error the schema has no such field
  age: unary({ request: person }, ({ age }) => age),
  *plain() {
    yield 1;
  },
  list: serverStream(() => [1, 2]),
  // @ts-expect-error it gives no stream
  none: serverStream(() => 7),
  sum: clientStream(async (numbers: AsyncIterable<number>) => {
    let sum = 0;
    for await (const number of numbers) sum += number;
    return sum;
  }),
  back: bidi({ bytes: true }, (messages) => messages),
});

const described = new Service(Echo, {
  say: ({ text }, { timeRemaining }) => ({ text: text + (timeRemaining ?? 0) }),
  async *repeat({ number }) {
    for (let i = 0n; i < number; i++) yield { number: i };
  },
  async *chat(messages) {
    for await (const { text } of messages) yield { text };
  },
});

// @ts-expect-error no such method
new Service(Echo, { sya: () => ({}) });
// @ts-expect-error no such field
new Service(Echo, { say: () => ({ text: 7 }) });

const logged: Filter = async (call, next) => {
  call.metadata = { tenant: "a" };
  call.timeout = Math.min(call.timeout ?? 500, 500);
  call.onAnswer((message: string) => message.trim());
  const answer = await next();
  console.log(call.method, call.metadata.get("tenant"), call.trailers.get("late"), call.context?.signal);
  return answer;
};

function filters(): void {
  use(logged, (call, next) => next());
  connect("tcp://127.0.0.1:1", { filters: [logged] }).service("hello", { filters: logged });
  new Service("filtered", { greet: () => "Hello" }, { filters: [logged] });
  void serve(named, { filters: [logged] });
  // @ts-expect-error a name is no filter
  use("log");
  use((call) => {
    // @ts-expect-error a peer is what it is
    call.peer = "somebody";
  });
}

async function servers(): Promise<void> {
  const onError = (error: unknown): void => console.log(error);
  const server = await serve([named, described], { address: "tcp://127.0.0.1:0", onError });
  server.setHealth(false, "hello");
  const urls: string[] = server.urls;
  console.log(urls, currentCall()?.peer, await detached(() => calls()));
  await server.drain(1000);
  await run(named);
}

void errors;
void filters;
void servers;
