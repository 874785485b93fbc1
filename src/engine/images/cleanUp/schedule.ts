import { cleanUpVerb } from '../../cleanUp/alone.ts'
import type { ScheduledWork } from '../../cleanUp/schedule.ts'
import { cleanUpImages, imageCleanUpSubject } from './cleanUp.ts'
import { hasLimit } from './limits.ts'

/** The clean-up of images by itself. */
export const imageCleanUpWork: ScheduledWork = {
  id: 'last',
  name: 'the clean-up of images',
  interval: ({ settings: { imageCleanUp } }) => (hasLimit(imageCleanUp) ? imageCleanUp.interval : 0),
  run: async engine => {
    using operation = engine.operations.begin({ verb: cleanUpVerb, subject: imageCleanUpSubject })
    const limits = engine.settings.imageCleanUp
    const { plan, removed } = await cleanUpImages(engine, { limits, operation })
    for (const text of plan.short)
      engine.log.warn(`after the clean-up of images still: ${text}`, { removed: removed.length })
  },
}
