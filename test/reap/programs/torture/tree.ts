/**
 * A descendant tree that resists being found: `tree KIND MARK [DEPTH]`. MARK is a row of twelve digits; every process of the
 * tree has it in its arguments (`sleep` as part of its number), so that a test can count them in a way that no reaper
 * knows. Ends by signals only.
 */
import { type SpawnOptions, spawn } from 'node:child_process'

const [kind = 'nasty', mark = '', depth = '3'] = process.argv.slice(2)
if (!/^\d{12}$/.test(mark)) throw new Error(`expected a mark of twelve digits, got ${JSON.stringify(mark)}`)

const start = (command: string, args: string[], options: SpawnOptions = {}) =>
  spawn(command, args, { stdio: 'ignore', ...options }).on('error', () => {})
const shell = (script: string) => start('/bin/sh', ['-c', `${script}\n: ${mark}`])

/** Sleeps some 60 s a time, with the mark in the number. */
const idle = `while :; do /bin/sleep 60.${mark}; done`
/** For the inner shell of a script that stands in double quotes. */
const daemon = `'${idle}; : ${mark}'`

const trees: Record<string, () => void> = { nasty, hostile, forking }

function nasty(): void {
  shell(`exec /bin/sleep 60.${mark}`)
  shell(`trap '' TERM INT HUP; ${idle}`)
  // Double fork and a session of its own; the second one also without the environment.
  shell(`(setsid /bin/sh -c ${daemon} &) ; exit 0`)
  shell(`(env -i setsid /bin/sh -c ${daemon} &) ; exit 0`)
  shell(`while :; do (/bin/sleep 0.05${mark}; : ${mark}) & /bin/sleep 0.02${mark}; done`)
}

/** What no mark, descriptor or parent leads to: double fork, own session, every descriptor closed, empty environment. */
function hostile(): void {
  nasty()
  const leave = `use POSIX; exit if fork; setsid(); exit if fork; POSIX::close($_) for 3..1100; %ENV = ();
    exec '/bin/sleep', '60.${mark}';`
  start('perl', ['-e', `# ${mark}\n${leave}`])
}

/** Sets that fork as fast as they die: short-lived shells that leave another one behind, in a session of its own. */
function forking(): void {
  const bomb = `while :; do (/bin/sleep 0.03${mark} &) ; /bin/sleep 0.004${mark}; done`
  for (let n = 0; n < 3; n++)
    shell(`while :; do (timeout 0.2 /bin/sh -c '${bomb}; : ${mark}' &); /bin/sleep 0.1${mark}; done`)
  // Each generation starts the next one and ends.
  shell(
    `relay='/bin/sleep 0.02${mark}; setsid /bin/sh -c "$0" "$0" & : ${mark}'; exec setsid /bin/sh -c "$relay" "$relay"`,
  )
}

trees[kind]?.()
if (Number(depth) > 1) {
  start(process.execPath, [...process.execArgv, process.argv[1] ?? '', kind, mark, String(Number(depth) - 1)], {
    detached: depth === '2',
  })
}
setInterval(() => {}, 1000)
