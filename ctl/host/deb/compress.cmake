# SPDX-License-Identifier: GPL-2.0-or-later
#
# Called by cpack between installing into its folder and packing it: documentation as Debian has it. `gzip -n` keeps the
# time out, so that the same build makes the same package.
set(share ${CPACK_TEMPORARY_DIRECTORY}/usr/share)
set(doc ${share}/doc/culvert)

# The form that Debian's tools read; what changed is in CHANGELOG.md beside it.
file(TIMESTAMP ${doc}/CHANGELOG.md date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(version ${CPACK_PACKAGE_VERSION})
if(CPACK_DEBIAN_PACKAGE_RELEASE)
    string(APPEND version -${CPACK_DEBIAN_PACKAGE_RELEASE})
endif()
file(WRITE ${doc}/changelog
    "culvert (${version}) unstable; urgency=medium\n\n"
    "  * Release ${CPACK_PACKAGE_VERSION}: see /usr/share/doc/culvert/CHANGELOG.md.gz.\n\n"
    " -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${date}\n")

file(GLOB pages ${share}/man/man*/*)
execute_process(COMMAND gzip -9 -n ${doc}/changelog ${doc}/CHANGELOG.md ${pages} COMMAND_ERROR_IS_FATAL ANY)
# Whatever the umask of who called.
file(GLOB_RECURSE files ${share}/*)
file(CHMOD ${files} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
