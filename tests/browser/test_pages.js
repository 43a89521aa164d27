// The pages in a real browser: what a person does with them, by mouse, by keyboard, without JavaScript, on a phone.
import assert from 'node:assert';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const iron = JSON.parse(fs.readFileSync(process.env.IRON, 'utf8'));
const origin = `${iron.scheme}://${iron.host}:${iron.port}`;
const base = `/p/${iron.project_id}`;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const api = async (method, path, body) => {
  const answer = await fetch(`${origin}/2/projects/${iron.project_id}${path}`, {
    method,
    headers: { Authorization: `OAuth ${iron.token}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.equal(answer.status, 200, `${method} ${path}`);
  return answer.json();
};
const queue = async (payload) => (await api('POST', '/tasks', { tasks: [{ code_name: 'worker', payload }] })).tasks[0].id;
const ended = async (payload) => {
  const id = await queue(payload);
  await api('GET', `/tasks/${id}?wait=20`);
  return id;
};

let browser;
const complaints = [];
before(async () => {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser?.close());

/** A page that is logged in; what its console complains of, and requests to elsewhere, are remembered. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on('console', (message) => {
    // A network interface that comes or goes on this machine interrupts what a browser was loading; it loads it again.
    const isOurs = !message.text().includes('ERR_NETWORK_CHANGED');
    if (['error', 'warning'].includes(message.type()) && isOurs) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`asked ${request.url()}`);
  });
  await page.goto(origin);
  await page.getByLabel('Token').fill(iron.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL(`${origin}${base}`);
  return page;
}

test('a task is queued by the form and seen to its end without reloading', async () => {
  const page = await open();
  await page.getByRole('link', { name: 'Tasks', exact: true }).click();
  await page.getByRole('link', { name: 'Queue a task' }).click();
  await page.getByLabel('Payload').fill('wait for the test');
  await page.getByRole('button', { name: 'Queue' }).click();
  await page.evaluate(() => { window.notReloaded = true; });
  await page.locator('h1 .is-running').waitFor();
  const log = page.getByRole('log');
  await log.getByText('begin wait for the test').waitFor();
  await log.locator('.c2', { hasText: 'tick' }).nth(3).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('h1 .is-cancelled').waitFor();
  await page.context().close();
});

test('changes reach pages that are open, at once', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/tasks`);
  await page.evaluate(() => { window.notReloaded = true; });
  await page.waitForTimeout(1200);
  const id = await queue('live');
  const queuedAt = Date.now();
  await page.locator(`tr[data-row="${id}"]`).waitFor();
  const took = Date.now() - queuedAt;
  await page.locator(`tr[data-row="${id}"] .is-complete`).waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded), 'it was swapped, not reloaded');
  console.log(`the first update took ${took} ms`);
  await page.context().close();
});

test('a failure says why, and is retried with another payload', async () => {
  const id = await ended('fail please');
  const page = await open();
  await page.goto(`${origin}${base}/tasks/${id}`);
  await page.getByText('this went wrong').first().waitFor();
  await page.getByText('exit 3', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'Retry, changed…' }).click();
  await page.getByLabel('Payload').fill('better');
  await page.getByRole('button', { name: 'Queue' }).click();
  await page.locator('h1 .is-complete').waitFor();
  await page.getByText('"ok": true').waitFor();
  await page.context().close();
});

test('many are filtered, counted and retried', async () => {
  for (const n of [1, 2, 3]) await ended(`fail many ${n}`);
  const page = await open();
  await page.goto(`${origin}${base}/tasks`);
  await page.locator('label.pill.is-error').click();
  await page.waitForURL(/error=1/);
  await page.locator('#main').getByLabel('Text').fill('many');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/text=many/);
  assert.equal(await page.locator('tbody tr').count(), 3);
  await page.getByLabel('Select all on this page').check();
  await page.getByRole('button', { name: 'Retry ticked' }).click();
  await page.getByText('3 tasks queued again').waitFor();
  await page.goto(`${origin}${base}/tasks?error=1`);
  await page.getByRole('button', { name: 'Retry everything that matches…' }).click();
  await page.getByRole('heading', { name: /^\d+ to retry/ }).waitFor();
  await page.getByRole('link', { name: 'Leave them' }).click();
  await page.context().close();
});

test('a schedule is made, changed and ended', async () => {
  const page = await open();
  await page.goto(`${origin}${base}/schedules/new`);
  await page.getByLabel('Name').fill('often');
  await page.getByLabel('Every').fill('600');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('heading', { name: /often/ }).waitFor();
  await page.getByText('Change it').click();
  await page.getByLabel('Every').fill('7200');
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByText('2 h', { exact: true }).first().waitFor();
  await page.getByRole('button', { name: 'End it' }).click();
  await page.locator('h1 .is-cancelled').waitFor();
  await page.context().close();
});

test('the keyboard goes everywhere', async () => {
  const id = await ended('by keyboard');
  const page = await open();
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await page.waitForURL(/\/tasks$/);
  await page.keyboard.press('/');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await page.waitForURL(/text=by/);
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  assert.ok(await page.locator(`tr[data-row="${id}"] input`).isChecked());
  await page.keyboard.press('Enter');
  await page.waitForURL(new RegExp(id));
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys and words' }).waitFor();
  await page.context().close();
});

test('everything works without JavaScript', async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${origin}${base}/queue`);
  await page.getByLabel('Payload').fill('no script');
  await page.getByRole('button', { name: 'Queue' }).click();
  const id = page.url().split('/').at(-1);
  await api('GET', `/tasks/${id}?wait=20`);
  await page.reload();
  await page.locator('h1 .is-complete').waitFor();
  await page.getByText('begin no script').waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByText('Queued again, as a new task').waitFor();
  await page.context().close();
});

test('every page fits a phone, in both themes, and can be used by everybody', async () => {
  const id = await ended('fail for the record');
  const code = (await api('GET', '/codes')).codes[0].id;
  const pages = ['', '/tasks', `/tasks/${id}`, '/codes', `/codes/${code}`, '/schedules', '/schedules/new', '/runners',
    '/tokens', '/queue'];
  for (const colorScheme of ['light', 'dark']) {
    const wide = await open({ colorScheme, bypassCSP: true });
    const phone = await open({ colorScheme, viewport: { width: 390, height: 800 } });
    for (const path of pages) {
      await wide.goto(`${origin}${base}${path}`);
      await wide.evaluate(axe);
      const found = await wide.evaluate(async () => (await globalThis.axe.run()).violations);
      const serious = found.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      assert.deepEqual(
        serious.map(({ id: rule, nodes }) => `${rule}: ${nodes[0].html.slice(0, 160)}`), [], `${path} ${colorScheme}`);
      await phone.goto(`${origin}${base}${path}`);
      const over = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${path || '/'} is ${over} pixels too wide for a phone`);
    }
    await wide.context().close();
    await phone.context().close();
  }
});

test('no browser complained, and nothing was asked of another server', () => {
  assert.deepEqual(complaints, []);
});
