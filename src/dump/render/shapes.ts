import type { DumpAwait } from '../schema.ts'
import { where } from '../words.ts'

/** Deeper branches are told apart by their tops only. */
const DEEPEST = 60

/** Tells which branches of an await graph look alike: the same functions at the same places, below each other alike. */
export class Shapes {
  readonly #below: ReadonlyMap<number, readonly DumpAwait[]>
  /** Short names of shapes, so that a deep branch is no long text. */
  readonly #names = new Map<string, string>()
  readonly #known = new Map<number, string>()

  /** @param below the functions that each one waits for, by id */
  constructor(below: ReadonlyMap<number, readonly DumpAwait[]>) {
    this.#below = below
  }

  /** Equal for two functions whose branches look alike. */
  of(frame: DumpAwait): string {
    return this.#of(frame, 0)
  }

  #of(frame: DumpAwait, depth: number): string {
    const known = this.#known.get(frame.id)
    if (known !== undefined) return known
    // Stands for itself while what is below it is looked at: the graph may have cycles.
    this.#known.set(frame.id, `#${frame.id}`)
    const below =
      depth >= DEEPEST ? [] : (this.#below.get(frame.id) ?? []).map((one) => this.#of(one, depth + 1)).sort()
    const held = frame.heldBy.map(({ path, event = '' }) => `${path.replace(/\[\d+\]/g, '[]')} ${event}`)
    const text = [frame.fn, where(frame.site), frame.exact, ...held, '|', ...below].join('\n')
    const name = this.#names.get(text) ?? `s${this.#names.size}`
    this.#names.set(text, name)
    this.#known.set(frame.id, name)
    return name
  }
}
