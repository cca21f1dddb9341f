// Reserves a unit for a buyer and commits it, and goes on when a node dies.
//
//   npm ci && npm run --silent reserve
//
// The rules are those of docs/errors.md. A request keeps its operation id on every attempt, so a retry is
// safe. After an attempt without an answer, the next attempts carry `repeats: true`. A refusal then closes
// the id. Any node takes any request, so the next node is asked when one does not answer.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";

import type { Operation } from "./generated/holdfast/v1/Operation.js";
import type { Reason } from "./generated/holdfast/v1/Reason.js";
import type { Refusal__Output } from "./generated/holdfast/v1/Refusal.js";
import type { ReserveRequest } from "./generated/holdfast/v1/ReserveRequest.js";
import type { ReserveResponse__Output } from "./generated/holdfast/v1/ReserveResponse.js";
import type { StockResponse__Output } from "./generated/holdfast/v1/StockResponse.js";
import type { TransitionResponse__Output } from "./generated/holdfast/v1/TransitionResponse.js";
import type { ProtoGrpcType as ReservationsProto } from "./generated/reservations.js";
import type { ProtoGrpcType as StockProto } from "./generated/stock.js";

const DEV = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431";
const addresses = (process.env.HOLDFAST_ENDPOINTS ?? DEV).split(",").map((url) => url.replace("http://", ""));

const ATTEMPT_MS = 3_000;
const CALL_MS = 10_000;
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 500;

const SKU = "EXAMPLE-MUG";

// With these refusals nothing happened, and the same request may be granted a moment later.
const NOT_NOW: Reason[] = ["REASON_NO_LEADER", "REASON_OVERLOADED", "REASON_CONTENDED"];
// With these refusals the request may have taken effect. The same request again settles it.
const NO_ANSWER: Reason[] = ["REASON_OUTCOME_UNKNOWN", "REASON_DEADLINE", "REASON_INTERNAL"];
// Codes without a refusal come from gRPC itself. With one of these, another attempt may be answered.
const MAY_PASS = [
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.CANCELLED,
  grpc.status.UNKNOWN,
  grpc.status.INTERNAL,
  grpc.status.RESOURCE_EXHAUSTED,
];

// A 64-bit number becomes a string: a JavaScript number has only 53 bits.
const options: protoLoader.Options = { longs: String, enums: String, defaults: true, oneofs: true };
const definition = protoLoader.loadSync(["holdfast/v1/reservations.proto", "holdfast/v1/stock.proto"], {
  ...options,
  includeDirs: [fileURLToPath(new URL("../../../proto", import.meta.url))],
});
const { v1 } = (grpc.loadPackageDefinition(definition) as unknown as ReservationsProto & StockProto).holdfast;

// google.rpc.Status is not part of the contract, so it is described here. Any comes with protobufjs.
const statusDefinition = protoLoader.fromJSON(
  {
    nested: {
      Any: { fields: { typeUrl: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
      Status: {
        fields: {
          code: { type: "int32", id: 1 },
          message: { type: "string", id: 2 },
          details: { rule: "repeated", type: "Any", id: 3 },
        },
      },
    },
  },
  options,
);

type Any = { typeUrl: string; value: Buffer };

function decode<T>(definitions: protoLoader.PackageDefinition, name: string, bytes: Buffer): T {
  return (definitions[name] as protoLoader.MessageTypeDefinition<object, object>).deserialize(bytes) as T;
}

/** Returns the refusal in the details of a gRPC error; undefined when the error has none. */
function refusalOf(error: grpc.ServiceError): Refusal__Output | undefined {
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (details === undefined) return undefined;
  const status = decode<{ details: Any[] }>(statusDefinition, "Status", details as Buffer);
  const packed = status.details.find((any) => any.typeUrl.split("/").pop() === "holdfast.v1.Refusal");
  return packed && decode<Refusal__Output>(definition, "holdfast.v1.Refusal", packed.value);
}

/** The cluster refused, and the request had no effect. */
class Refused extends Error {
  constructor(readonly refusal: Refusal__Output) {
    super(`${refusal.reason}: ${refusal.message}`);
  }
}

/** Nobody took the request before the deadline. It had no effect. */
class Unavailable extends Error {}

/** The request may or may not have taken effect. The very same request again settles it. */
class OutcomeUnknown extends Error {}

/** Returns the 16 bytes of a new UUIDv7 (RFC 9562): the time in milliseconds, then 74 random bits. */
function newOperationId(): Buffer {
  const id = randomBytes(16);
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70; // the version
  id[8] = (id[8] & 0x3f) | 0x80; // the variant
  return id;
}

const newOperation = (reference: string): Operation => ({ operationId: newOperationId(), reference });

const insecure = grpc.credentials.createInsecure();
const reservations = addresses.map((address) => new v1.Reservations(address, insecure));
const stock = addresses.map((address) => new v1.Stock(address, insecure));
// The node to which all calls go until it does not answer.
let node = 0;

/** Sends a request to one of the nodes. */
type Send<Answer> = (
  node: number,
  options: grpc.CallOptions,
  done: grpc.requestCallback<Answer>,
) => grpc.ClientUnaryCall;

/** Makes one attempt. Returns the answer or the error. */
function attempt<Answer>(send: Send<Answer>, waitMs: number) {
  return new Promise<{ answer: Answer } | { error: grpc.ServiceError }>((resolve) => {
    send(node, { deadline: Date.now() + waitMs }, (error, answer) =>
      resolve(error ? { error } : { answer: answer as Answer }),
    );
  });
}

/**
 * Calls until there is an answer, a refusal that another attempt does not change, or the deadline.
 *
 * The mark `repeats` stays in the operation. So the caller of a call that ended in OutcomeUnknown can send
 * the very same request again.
 */
async function call<Answer>(operation: Operation, send: Send<Answer>): Promise<Answer> {
  const until = Date.now() + CALL_MS;
  let stepMs = FIRST_PAUSE_MS;
  for (;;) {
    const outcome = await attempt(send, Math.max(20, Math.min(ATTEMPT_MS, until - Date.now())));
    if ("answer" in outcome) return outcome.answer;

    const { error } = outcome;
    const refusal = refusalOf(error);
    const why = refusal?.reason ?? `no answer (${grpc.status[error.code]})`;
    const mayPass = refusal
      ? NOT_NOW.includes(refusal.reason) || NO_ANSWER.includes(refusal.reason)
      : MAY_PASS.includes(error.code);
    if (!mayPass) {
      // An earlier attempt may still act, unless this refusal has sealed the operation id.
      if (operation.repeats && !refusal?.settled) throw new OutcomeUnknown(why);
      throw refusal ? new Refused(refusal) : error;
    }
    // An attempt without an answer may have been sent, so it counts as sent.
    if (!refusal || NO_ANSWER.includes(refusal.reason)) operation.repeats = true;

    const pauseMs = Math.max(stepMs * (0.5 + Math.random() / 2), Number(refusal?.retryAfterMs ?? 0));
    stepMs = Math.min(stepMs * 2, LONGEST_PAUSE_MS);
    if (Date.now() + pauseMs >= until) {
      throw operation.repeats ? new OutcomeUnknown(why) : new Unavailable(why);
    }
    const left = addresses[node];
    node = (node + 1) % addresses.length;
    console.log(`${left}: ${why}, going on at ${addresses[node]}`);
    await sleep(pauseMs);
  }
}

/** Calls until the outcome is known. Each call has its own deadline, and all of them send one id. */
async function untilKnown<Answer>(operation: Operation, send: Send<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await call(operation, send);
    } catch (error) {
      // A new id would be wrong here: if the first attempt took effect, the units would be taken twice. A
      // shop with no more time tells its buyer to wait, keeps the request, and settles it later.
      if (!(error instanceof OutcomeUnknown)) throw error;
      console.log(`the outcome is unknown (${error.message}), asking again with the same id`);
    }
  }
}

function reserve(operation: Operation, quantity: number) {
  const request: ReserveRequest = {
    operation,
    storefront: "web",
    lines: [{ sku: SKU, quantity }],
    ttlMs: 15 * 60 * 1000,
  };
  return untilKnown<ReserveResponse__Output>(operation, (at, options, done) =>
    reservations[at].reserve(request, options, done),
  );
}

async function main() {
  const delivery = newOperation("delivery-1");
  const goods = { operation: delivery, sku: SKU, warehouse: "LDN-1", quantity: 1 };
  await untilKnown<StockResponse__Output>(delivery, (at, options, done) =>
    stock[at].receive(goods, options, done),
  );
  console.log(`1 unit of ${SKU} arrived in LDN-1`);

  // A shop writes both ids into its order before the first call. After a crash it then repeats the calls
  // with these ids, and nothing happens twice.
  const hold = newOperation("order-1");
  const payment = newOperation("order-1");
  const granted = await reserve(hold, 1);
  const shard = granted.receipt?.position?.shard;
  console.log(`${shown(hold)} is held in shard ${shard}`);

  // The buyer pays here. The answer named the shard, so the next call finds the hold at once.
  const commit = { operation: payment, reservation: { reservationId: hold.operationId, shard } };
  const committed = await untilKnown<TransitionResponse__Output>(payment, (at, options, done) =>
    reservations[at].commit(commit, options, done),
  );
  console.log(`${shown(hold)} is ${committed.state}`);

  // The same request again takes nothing. The answer is that of the first time, and says so.
  const again = await reserve(hold, 1);
  console.log(`the same reserve again: replayed=${again.receipt?.replayed}, nothing was taken`);

  try {
    await reserve(newOperation("order-2"), 1_000_000);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { reason, retryAfterMs, shortages } = error.refusal;
    console.log(`refused: ${reason}, retry_after_ms=${retryAfterMs}`);
    for (const line of shortages) {
      console.log(`  line ${line.line}: ${line.requested} of ${line.sku} wanted, ${line.available} there`);
    }
  }
}

/** Returns an operation id as people write it. */
function shown(operation: Operation): string {
  const hex = (operation.operationId as Buffer).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

await main();
for (const client of [...reservations, ...stock]) client.close();
