// SPDX-License-Identifier: Apache-2.0
//
// Deterministic load for node: node_work.js ROUNDS. The main thread starts worker threads wave
// after wave; each parses and prints JSON, deflates, hashes, and hands buffers of its own to the
// main thread, which frees what other threads allocated. Prints a line of checksums for each wave.

'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

const WORKERS = 4;

function digest(data) {
  return crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);
}

// The numbers of a linear congruence, the same on each run.
function sequence(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 1;
    return state % limit;
  };
}

function deflateLater(data) {
  return new Promise((resolve, reject) => {
    zlib.deflate(data, (error, packed) => (error ? reject(error) : resolve(packed)));
  });
}

async function work({ seed, rounds }) {
  const next = sequence(seed);
  const hash = crypto.createHash('sha256');
  for (let round = 0; round < rounds; round++) {
    const row = (_, id) => ({ id, text: 'x'.repeat(next(400)), n: next(1e6) });
    const rows = Array.from({ length: 200 }, row);
    const text = JSON.stringify(rows);
    hash.update(JSON.stringify(JSON.parse(text).reverse()));
    const parts = [0, 1, 2].map((part) => text.slice(part * 1000));
    const packed = await Promise.all(parts.map(deflateLater));
    packed.forEach((data) => hash.update(zlib.inflateSync(data)));
    const buffers = Array.from({ length: 20 }, () => Buffer.alloc(1 + next(20000), next(256)));
    buffers.forEach((buffer) => hash.update(buffer));
    const given = new Uint8Array(1 + next(300000)).fill(next(256));
    parentPort.postMessage({ part: given }, [given.buffer]);
  }
  hash.update(crypto.pbkdf2Sync('larder', String(seed), 1000, 32, 'sha256'));
  parentPort.postMessage({ done: hash.digest('hex').slice(0, 16) });
}

function startWorker(seed, rounds) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: { seed, rounds } });
    const parts = crypto.createHash('sha256');
    let done = null;
    worker.on('message', (message) => {
      if (message.part) parts.update(message.part);
      else done = message.done;
    });
    worker.on('error', reject);
    worker.on('exit', (code) => {
      if (code !== 0 || done === null) reject(new Error(`worker ${seed} ended with ${code}`));
      else resolve(`${done}-${digest(parts.digest())}`);
    });
  });
}

async function main() {
  const rounds = Number(process.argv[2]);
  for (let wave = 0; wave < 4; wave++) {
    const seeds = Array.from({ length: WORKERS }, (_, i) => wave * WORKERS + i + 1);
    const results = await Promise.all(seeds.map((seed) => startWorker(seed, rounds)));
    console.log(wave, results.join(' '));
  }
}

if (isMainThread) {
  main().catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  work(workerData);
}
