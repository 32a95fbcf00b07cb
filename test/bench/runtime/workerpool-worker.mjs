import { worker } from 'workerpool'
import { echo } from './tasks.mjs'

worker({ echo })
