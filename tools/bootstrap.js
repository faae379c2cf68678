/**
 * From an empty checkout to a running script: plain JavaScript, because it runs on whatever Node the machine has
 * (20 or newer) before anything is installed.
 *
 *   1. packages   `npm ci` when node_modules is missing or is not what package-lock.json says
 *   2. Node       the pinned Node from the packages; another one only if it is new enough and there is no pinned one
 *   3. SQLite     the one inside that Node must not have the WAL-reset bug (3.51.3 or newer)
 *   4. script     runs with that Node as a child, with signals and exit status passed through
 *
 * It says what it does on standard error, and says nothing when there is nothing to do. Not here: anything about
 * Paceline itself. Not handled: two first starts at the same time in one checkout.
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pinnedPath = join(root, "node_modules", ".bin", "node");
const sqliteMin = "3.51.3";

/**
 * Runs a script of this checkout, given relative to its root, with the pinned Node: as a child, or, when `mayImport`
 * and this process is the pinned Node already, by importing it. An imported script does not see itself as the main
 * module, so this is for scripts that do not ask.
 */
export async function bootstrap(script, args, mayImport = false) {
  installPackages();
  const node = chooseNode();
  const path = resolve(root, script);
  if (!existsSync(path)) fail(`${script} does not exist in this checkout (${root})`);
  if (mayImport && node === process.execPath) {
    process.argv = [node, path, ...args];
    await import(pathToFileURL(path).href);
  } else {
    runChild(node, [path, ...args]);
  }
}

function installPackages() {
  const why = whyInstall();
  if (why === undefined) return;
  say(`${why}: running npm ci …`);
  npm(["ci", "--include=dev", "--include=optional"]);
  const still = whyInstall();
  if (still !== undefined)
    fail(`npm ci ended well, but ${still}. Delete node_modules and try again.`);
  // npm links the commands of packages, not those of the checkout itself; this is what `npx paceline` finds.
  const command = join(root, "node_modules", ".bin", "paceline");
  if (!existsSync(command)) symlinkSync(join("..", "..", "bin", "paceline"), command);
}

/** What stands between node_modules and package-lock.json, or undefined. Compares what they say, not their dates. */
function whyInstall() {
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  if (installed === undefined) return "the packages are not installed yet";
  for (const [path, wanted] of Object.entries(readJson("package-lock.json").packages)) {
    if (path === "") continue;
    const found = installed[path]?.version;
    if (found === undefined && (wanted.optional || wanted.devOptional)) continue;
    if (found === undefined) return `${path} is missing`;
    if (found !== wanted.version)
      return `${path} is ${found}, package-lock.json wants ${wanted.version}`;
  }
  return undefined;
}

/** Path of the Node to run with. */
function chooseNode() {
  const pinned = pinnedPackage();
  if (pinned !== undefined) {
    let probe = probeNode(pinnedPath);
    if (probe?.node !== pinned.version) {
      say(`Node ${pinned.version} is not in node_modules: installing ${pinned.name} …`);
      npm(["install", "--no-save", `${pinned.name}@${pinned.version}`]);
      probe = probeNode(pinnedPath);
    }
    if (probe?.node === pinned.version) return checkSqlite(probe);
    say(
      `the pinned Node ${pinned.version} does not run on this machine; trying the one that is here`,
    );
  }
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 24 || (major === 24 && minor >= 15)) return checkSqlite(probeNode(process.execPath));
  return fail(
    `Node ${process.versions.node} is too old and there is no pinned Node for ${process.platform}-${process.arch}. ` +
      "Install Node 24.15 or newer and try again.",
  );
}

/** The package that holds the pinned Node for this platform, or undefined where there is none. */
function pinnedPackage() {
  const platform = `${process.platform}-${process.arch}`;
  const packages = readJson("package.json").optionalDependencies ?? {};
  const name = [`node-${platform}`, `node-bin-${platform}`].find((n) => n in packages);
  return name === undefined ? undefined : { name, version: packages[name] };
}

function probeNode(path) {
  if (!existsSync(path)) return undefined;
  const real = realpathSync(path);
  if (real === realpathSync(process.execPath)) {
    return { path: process.execPath, node: process.versions.node, sqlite: process.versions.sqlite };
  }
  const { status, stdout } = spawnSync(
    real,
    ["-p", "[process.versions.node, process.versions.sqlite].join()"],
    { encoding: "utf8" },
  );
  if (status !== 0) return undefined;
  const [node, sqlite] = stdout.trim().split(",");
  return { path: real, node, sqlite };
}

function checkSqlite(probe) {
  if (probe === undefined) return fail("this Node cannot be run a second time");
  const have = (probe.sqlite ?? "0").split(".").map(Number);
  const want = sqliteMin.split(".").map(Number);
  const first = [0, 1, 2].find((i) => (have[i] ?? 0) !== want[i]);
  if (first !== undefined && (have[first] ?? 0) < want[first]) {
    fail(
      `Node ${probe.node} carries SQLite ${probe.sqlite ?? "(none)"}, which can lose data when it resets a WAL. ` +
        `Paceline needs ${sqliteMin} or newer: run npm ci, or install a newer Node.`,
    );
  }
  return probe.path;
}

/** Runs the script as a child that gets every signal we get, and ends the way it ends. */
function runChild(node, args) {
  // A stray SIGUSR1 would open a debugger, to anybody on this machine.
  const child = spawn(node, ["--disable-sigusr1", ...args], {
    stdio: "inherit",
    cwd: process.cwd(),
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
  // A terminal sends Ctrl-C to all of us, so the child may get it twice; every script of ours can take that.
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  // npm that was killed could not tell us. Without it nobody would stop the child, nor anything that it started.
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.env.npm_lifecycle_event !== undefined && process.ppid !== parent) child.kill();
  }, 500);
  watch.unref();
  child.on("error", (error) => fail(`cannot run ${node}: ${error.message}`));
  child.on("exit", (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0);
    process.exit();
  });
}

function npm(args) {
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  // Standard output belongs to the script: `paceline status --json | jq` must work on a first start, too.
  const { status, error } = spawnSync("npm", [...args, ...quiet], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (error !== undefined) fail(`cannot run npm: ${error.message}. Is it installed?`);
  if (status !== 0) fail(`npm ${args[0]} failed (exit ${status}); what it said is above`);
}

function readJson(path) {
  const full = join(root, path);
  return existsSync(full) ? JSON.parse(readFileSync(full, "utf8")) : undefined;
}

function say(text) {
  process.stderr.write(`paceline: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

if (
  process.argv[1] !== undefined &&
  realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)
) {
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) fail("usage: node tools/bootstrap.js SCRIPT [ARGUMENTS]");
  await bootstrap(script, args);
}
