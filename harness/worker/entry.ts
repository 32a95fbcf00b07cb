/** What a supervised worker runs instead of vitest's entry; it imports that one after its own set-up. */
import { start } from './start.ts'

await start()
