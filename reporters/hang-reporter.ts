/** Prints each hang when it is found and a final block, and writes the run record at the end of each run. */
import pc from 'picocolors'
import type { TestCase, TestModule } from 'vitest/node'
import type { Orphan } from '../harness/processes.ts'
import type { Hang, Run, RunListener } from '../harness/run.ts'
import { renderLeakBlock } from '../src/dump/leak-block.ts'
import type { HangBlockColors } from '../src/dump/render.ts'
import { seconds, wrap } from '../src/dump/words.ts'
import { type RunnerTask, skipReason } from './skip-reason.ts'

/** The part of vitest's logger that is used. */
interface Output {
  isTTY?: boolean
  columns?: number
}

const INDENT = '   '

export class HangReporter implements RunListener {
  readonly #run: Run
  readonly #begin: () => Promise<void>
  /** Said before vitest's reporters are ready. */
  #early: string[] = []
  #ready = false
  #toldRecord = false
  #quiet: NodeJS.Timeout | undefined

  /** @param begin called when vitest has made its reporters, before any test runs */
  constructor(run: Run, begin: () => Promise<void> = async () => {}) {
    this.#run = run
    this.#begin = begin
    run.listen(this)
  }

  // ---- vitest's side

  async onInit(): Promise<void> {
    await this.#begin()
    this.#ready = true
    const { options } = this.#run
    if (options.header && options.hang) {
      const { grace, blocked, collect } = options.hang
      this.#print(
        ` ${this.#colors().inverse(' harrow ')} watches for hangs: vitest's limits + ${grace} ms, blocked ${blocked} ms, collection ${collect} ms · dumps in ${options.dumpDir}`,
      )
      this.#print(`          ${this.#run.processes.strength}`)
    }
    for (const text of this.#early.splice(0)) this.note(text)
    this.#run.recover()
    if (!this.#run.vitest.config.watch)
      this.#expectWithin('no test file has started within', 'a globalSetup, or a reporter,')
  }

  /** Outside of the workers nothing is supervised, but that it takes long can be said, and how to look at it. */
  #expectWithin(what: string, culprit: string): void {
    clearTimeout(this.#quiet)
    const ms = this.#run.options.hang?.collect
    if (ms === undefined) return
    const text = `${what} ${seconds(ms, 1)}: ${culprit} may hang. What vitest does: npx harrow dump ${process.pid}`
    this.#quiet = setTimeout(() => this.note(text), ms)
    this.#quiet.unref()
  }

  onTestModuleQueued(): void {
    clearTimeout(this.#quiet)
  }

  onTestRunStart(): void {
    this.#run.begin()
  }

  onTestRunEnd(): void {
    if (!this.#run.vitest.config.watch)
      this.#expectWithin(
        'the tests are over, and vitest has not ended within',
        'the teardown of a globalSetup, or a reporter,',
      )
    const written = this.#run.writeRecord()
    const { hangs, leaks } = this.#run
    this.#toldRecord = hangs.length + leaks.length > 0
    // What the last workers have left is found when vitest closes; in watch mode that is when somebody ends it.
    const ended = this.#run.vitest.config.watch ? this.#ended() : []
    if (hangs.length + leaks.length + ended.length === 0) return
    const c = this.#colors()
    const lines: string[] = ['']
    if (leaks.length > 0) {
      const block = renderLeakBlock({ leaks, record: '.harrow/run.json', colors: c })
      lines.push(...block.split('\n').map((line) => ` ${line}`))
    }
    if (hangs.length > 0) {
      lines.push(` ${c.bold(c.red('hangs'))}  ${hangs.length}`)
      for (const hang of hangs)
        lines.push(
          `   ${project(hang)}${hang.facts.file.path}${title(hang)}  ${c.dim(hang.verdict.class)}  ${c.cyan(hang.dump?.txt ?? '(no dump)')}`,
        )
    }
    lines.push(...ended)
    lines.push(...(written ? [this.#record()] : []), '')
    this.#print(lines.join('\n'))
  }

  /** vitest has closed: whatever was left of the run is found and ended. */
  closed(): void {
    const lines = this.#run.vitest.config.watch ? [] : this.#ended()
    if (lines.length === 0) return
    if (!this.#toldRecord && this.#run.writeRecord()) lines.push(this.#record())
    this.#print(`${lines.join('\n')}\n`)
  }

  #record(): string {
    return ` ${this.#colors().dim('record')}  .harrow/run.json`
  }

  #ended(): string[] {
    const { orphans } = this.#run
    if (orphans.length === 0) return []
    const c = this.#colors()
    const ended = orphans.reduce((sum, orphan) => sum + orphan.ended, 0)
    const others = orphans.filter((orphan) => orphan.ended === 0).length
    return [` ${c.bold('processes ended')}  ${ended}${others === 0 ? '' : `, and ${others} that harrow did not end`}`]
  }

  /** A static skip has no note of its own: the reason of a mark becomes that, for every reporter that comes after. */
  onTestModuleCollected(module: TestModule): void {
    for (const test of module.children.allTests()) noteSkip(test)
  }

  /** A worker's update has made the result anew. */
  onTestCaseReady(test: TestCase): void {
    noteSkip(test)
  }

  /** The worker's last word on a test has replaced what was put there when its limit passed. */
  onTestCaseResult(test: TestCase): void {
    const hang = this.#run.hangs.find(({ evidence }) => !evidence.ended && evidence.test === test.id)
    if (hang) Object.assign(test.meta(), { harrow: { hang: hang.summary } })
  }

  // ---- the run's side

  async hang(hang: Hang): Promise<void> {
    const { renderHangBlock } = await import('../src/dump/render.ts')
    const { reproduceHang } = await import('../src/dump/reproduce.ts')
    const { facts, verdict } = hang
    const source = verdict.stack.find(
      (f) => f.site.path === verdict.culprit?.path && f.site.line === verdict.culprit?.line,
    )?.source
    const block = renderHangBlock({
      file: facts.file.path,
      test: facts.test,
      ...(facts.project !== undefined && { project: facts.project }),
      hook: facts.hook,
      phase: facts.phase,
      waitedMs: facts.waitedMs,
      class: verdict.class,
      variant: verdict.variant,
      confidence: verdict.confidence,
      diagnosis: verdict.diagnosis,
      culprit: verdict.culprit,
      source,
      hint: verdict.hint,
      again: reproduceHang(facts),
      dump: hang.dump?.txt,
      dumpError: hang.dumpError ?? undefined,
      columns: this.#output().columns,
      colors: this.#colors(),
    })
    this.#print(`\n${block}\n`)
  }

  orphans(orphans: readonly Orphan[]): void {
    const c = this.#colors()
    const width = Math.max(40, this.#output().columns ?? 100) - INDENT.length
    for (const { entry } of orphans) {
      // The label takes part in the wrapping, and is coloured afterwards.
      const lines = wrap(`ORPHAN ${entry.diagnosis}`, width).join(`\n${INDENT}`)
      this.#print(lines.replace('ORPHAN', ` ${c.inverse(' ORPHAN ')}`))
    }
  }

  note(text: string): void {
    if (!this.#ready) this.#early.push(text)
    else this.#print(` ${this.#colors().dim('harrow:')} ${text}`)
  }

  #output(): Output {
    return this.#run.vitest.logger.outputStream as Output
  }

  #colors(): HangBlockColors {
    return pc.createColors(pc.isColorSupported && this.#output().isTTY === true)
  }

  #print(text: string): void {
    this.#run.vitest.logger.log(text)
  }
}

function noteSkip(test: TestCase): void {
  const reason = skipReason(test)
  if (reason === undefined) return
  const task = (test as unknown as { task: RunnerTask }).task
  task.result = { ...task.result, state: 'skip', note: reason }
}

const project = ({ facts }: Hang): string => (facts.project === undefined ? '' : `|${facts.project}| `)

function title(hang: Hang): string {
  const parts = hang.facts.test ?? []
  const where = hang.facts.hook ?? (parts.length === 0 || hang.facts.phase !== 'test' ? hang.facts.phase : null)
  return ` > ${[...parts, ...(where ? [`(${where})`] : [])].join(' > ')}`
}
