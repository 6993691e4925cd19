import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Those that start processes take longest: begun last, they would keep one worker busy while the others have nothing left to do. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => /\/test\/life\/|-command\.test|-commands\.test/u.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}
