import { cleanUpVerb } from './alone.ts'
import { cleanUp, cleanUpSubject } from './cleanUp.ts'
import { hasRules } from './rules.ts'
import type { ScheduledWork } from './schedule.ts'

/** The clean-up of unused containers, networks and volumes by itself. */
export const cleanUpWork: ScheduledWork = {
  id: 'unused',
  name: 'the clean-up',
  interval: ({ settings: { cleanUp: rules, cleanUpInterval } }) => (hasRules(rules) ? cleanUpInterval : 0),
  run: async engine => {
    using operation = engine.operations.begin({ verb: cleanUpVerb, subject: cleanUpSubject })
    const { removed, freed } = await cleanUp(engine, { settings: engine.settings.cleanUp, operation })
    engine.log.info('the clean-up has ended', { removed: removed.length, bytes: freed })
  },
}
