/** What forks the workers of a run: one for each project, and the zygotes that they share. */
import type { TestProject } from '../../compat.ts'
import type { ResolvedZygote } from '../../zygote-options.ts'
import { Forker } from './forker.ts'
import { Zygotes } from './zygotes.ts'

export class Forkers {
  readonly #zygotes = new Zygotes()
  readonly #all: Forker[] = []
  readonly #note: (text: string) => void

  /** @param note says a sentence to the user, once */
  constructor(note: (text: string) => void) {
    this.#note = note
  }

  of({ config, vite }: TestProject, options: ResolvedZygote): Forker {
    const forker = new Forker(this.#zygotes, options, config.root, vite.config.cacheDir, this.#note)
    this.#all.push(forker)
    return forker
  }

  /** A run of watch mode begins, or the first one. */
  begin(): void {
    for (const forker of this.#all) forker.begin()
  }

  async end(): Promise<void> {
    for (const forker of this.#all) forker.save()
    await this.#zygotes.end(true)
  }
}
