// Rates of graphile-worker and pg-boss on the database in DATABASE_URL, each in the fastest mode that its documentation
// describes: `node others.js [RUNS] [JOBS]`. Jobs do nothing; each process has one thread, so each is given two.

import { fork } from "node:child_process";
import { once } from "node:events";
import { makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import PgBoss from "pg-boss";

const url = process.env.DATABASE_URL;
const ARRAY = 1000;
const PAYLOAD = { data: "x".repeat(300) };
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const rate = (count, start) => (count / (performance.now() - start)) * 1000;

const systems = {
  "graphile-worker": {
    // A batch of jobs is taken at once and given back done in batches.
    preset: {
      worker: {
        connectionString: url,
        concurrentJobs: 24,
        maxPoolSize: 24,
        pollInterval: 2000,
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
      },
    },
    async prepare() {
      const utils = await makeWorkerUtils({ preset: this.preset });
      await utils.migrate();
      return {
        add: (count) => utils.addJobs(Array.from({ length: count }, () => ({ identifier: "nothing", payload: PAYLOAD }))),
        one: () => utils.addJob("nothing", PAYLOAD),
        end: () => utils.release(),
      };
    },
    left: "SELECT count(*)::int8 AS n FROM graphile_worker._private_jobs",
    clear: "TRUNCATE graphile_worker._private_jobs",
    async work() {
      const runner = await run({ preset: this.preset, taskList: { nothing: async () => {} }, noHandleSignals: true });
      return () => runner.stop();
    },
  },
  "pg-boss": {
    async prepare() {
      const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false, max: 10 });
      boss.on("error", () => {});
      await boss.start();
      await boss.createQueue("nothing");
      return {
        add: (count) => boss.insert(Array.from({ length: count }, () => ({ name: "nothing", data: PAYLOAD }))),
        one: () => boss.send("nothing", PAYLOAD),
        end: () => boss.stop({ graceful: false }),
      };
    },
    left: "SELECT count(*)::int8 AS n FROM pgboss.job WHERE name = 'nothing' AND state < 'completed'",
    clear: "DELETE FROM pgboss.job",
    // Jobs are fetched and completed by the batch; polling workers are slower.
    async work() {
      const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false, migrate: false, max: 10 });
      boss.on("error", () => {});
      await boss.start();
      let stopped = false;
      const one = async () => {
        while (!stopped) {
          const jobs = await boss.fetch("nothing", { batchSize: 500 });
          if (jobs.length > 0) await boss.complete("nothing", jobs.map((job) => job.id));
          else await new Promise((done) => setTimeout(done, 10));
        }
      };
      const loops = [one(), one()];
      return async () => {
        stopped = true;
        await Promise.all(loops);
        await boss.stop({ graceful: false });
      };
    },
  },
};

if (process.send) {
  const stop = await systems[process.argv[2]].work();
  process.once("message", async () => {
    await stop();
    process.exit(0);
  });
} else {
  const [runs = 3, jobs = 30000] = process.argv.slice(2).map(Number);
  const client = new pg.Client(url);
  await client.connect();
  for (const [name, system] of Object.entries(systems)) {
    const { add, one, end } = await system.prepare();
    const found = { singles: [], arrays: [], cycles: [] };
    for (let n = 0; n < runs; n++) {
      let start = performance.now();
      let count = 0;
      const single = async () => {
        while (performance.now() - start < 3000) {
          await one();
          count++;
        }
      };
      await Promise.all(Array.from({ length: 64 }, single));
      found.singles.push(rate(count, start));
      await client.query(system.clear);

      start = performance.now();
      for (let at = 0; at < jobs; at += 4 * ARRAY) await Promise.all([1, 2, 3, 4].map(() => add(ARRAY)));
      found.arrays.push(rate(Math.ceil(jobs / (4 * ARRAY)) * 4 * ARRAY, start));

      const left = async () => Number((await client.query(system.left)).rows[0].n);
      const workers = [fork(process.argv[1], [name], { stdio: "ignore" }), fork(process.argv[1], [name], { stdio: "ignore" })];
      // From when the first jobs are done: starting a process is not what is measured.
      const all = await left();
      let first;
      do first = await left();
      while (first > all * 0.95);
      start = performance.now();
      while ((await left()) > 0) await new Promise((done) => setTimeout(done, 20));
      found.cycles.push(rate(first, start));
      for (const worker of workers) worker.send("stop");
      await Promise.all(workers.map((worker) => once(worker, "exit")));
      await client.query(system.clear);
    }
    await end();
    const round = (values) => Math.round(median(values)).toLocaleString("en");
    console.log(`${name}: singles ${round(found.singles)}/s, arrays ${round(found.arrays)}/s, taken and done ${round(found.cycles)}/s`);
  }
  await client.end();
}
