// Reads what a storefront can sell from the view in Redis, in one round trip, and says how old that is.
//
//   npm ci && npm run --silent page -- SHIRT-1 MUG-2
//
// docs/redis.md is the contract. The address is in HOLDFAST_REDIS_URL, the storefront in HOLDFAST_STOREFRONT,
// and the age beyond which no number is shown in HOLDFAST_MAX_AGE_MS.

import { crc32 } from "node:zlib";

import { createClient } from "@redis/client";

const url = process.env.HOLDFAST_REDIS_URL ?? "redis://127.0.0.1:6379";
const storefront = process.env.HOLDFAST_STOREFRONT ?? "web";
const maxAgeMs = Number(process.env.HOLDFAST_MAX_AGE_MS ?? 2_500);
const PREFIX = "holdfast";

// How long the answer which generation is live may be kept.
const LIVE_MS = 1_000;

/** Redis has no view at the moment. Show no number. */
class NoView extends Error {}

interface Live {
  generation: string;
  shards: number;
  readAtMs: number;
}

interface Page {
  /** What the storefront can sell, over all warehouses. Undefined when the ledger does not know the SKU. */
  units?: bigint;
  /** The time since the view had everything that the cluster had. */
  ageMs: number;
}

const client = createClient({ url });
let live: Live | undefined;

/** Returns the shard of a SKU: the one that owns its slot. */
function shardOf(sku: string, shards: number): number {
  const slot = crc32(sku) % 4096;
  return Math.floor(((slot + 1) * shards - 1) / 4096);
}

async function readLive(again: boolean): Promise<Live> {
  if (again || !live || performance.now() - live.readAtMs > LIVE_MS) {
    const readAtMs = performance.now();
    const [generation, shards] = await client.hmGet(`{${PREFIX}}:live`, ["generation", "shards"]);
    live = generation && shards ? { generation, shards: Number(shards), readAtMs } : undefined;
    if (!live) throw new NoView();
  }
  return live;
}

/** Reads one product page. */
async function readPage(sku: string): Promise<Page> {
  // The generation that was kept may have been removed since.
  for (const again of [false, true]) {
    const { generation, shards } = await readLive(again);
    const shard = String(shardOf(sku, shards)).padStart(4, "0");
    const ofShard = `${PREFIX}:${generation}:{${shard}}:`;
    // Both answers are of one moment.
    const [[own, everybody], currentAtMs] = await client
      .multi()
      .hmGet(`${ofShard}sku:${sku}`, [storefront, "*"])
      .hGet(`${ofShard}shard`, "current_at_ms")
      .exec<"typed">();
    if (!currentAtMs) continue;
    // A storefront without a number of its own has everybody's. A JavaScript number has only 53 bits.
    const units = own ?? everybody ?? undefined;
    const ageMs = Math.max(0, Date.now() - Number(currentAtMs));
    return { units: units === undefined ? undefined : BigInt(units), ageMs };
  }
  throw new NoView();
}

await client.connect();
for (const sku of process.argv.slice(2)) {
  try {
    const { units, ageMs } = await readPage(sku);
    if (ageMs > maxAgeMs) console.log(`${sku}: the view is ${ageMs} ms old, so no number`);
    else console.log(`${sku}: ${units === undefined ? "unknown" : `${units} to sell`}, ${ageMs} ms old`);
  } catch (error) {
    if (!(error instanceof NoView)) throw error;
    console.log(`${sku}: there is no view, so no number`);
  }
}
await client.close();
