/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * crash.h -- named places where a test may have the process killed
 *
 * In a build with -Dcrash_points=true, OBJD_CRASH_POINT=NAME:N in the environment kills the process when it comes to
 * that place for the Nth time, by SIGKILL, so that nothing of it runs any more. In every other build a crash point is nothing.
 * A name is module.step; each use says what a survivor finds if we die there.
 */

#ifdef OBJD_CRASH_POINTS
#define CRASH_POINT(name) crash_point(name)
void crash_point(const char *name);
#else
#define CRASH_POINT(name) ((void)0)
#endif
