# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Debian package, by `cpack` in the build folder (`make deb`): what `cmake --install` installs, under /usr, and the
# component `host`. The programs find each other wherever they are, so those of any build will do.
set(CULVERT_DEB_MAINTAINER "Culvert maintainers <culvert@localhost>" CACHE STRING "Maintainer of the .deb: NAME <ADDRESS>")
set(CULVERT_DEB_REVISION "" CACHE STRING "Added to the version of the .deb, e.g. 1~bpo12")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME culvert)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/..)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_CMAKE_PROJECTS
    "${CMAKE_BINARY_DIR};culvert;ALL;/;${CMAKE_BINARY_DIR};culvert;host;/")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/compress.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${CULVERT_DEB_REVISION})
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${CULVERT_DEB_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE ${PROJECT_HOMEPAGE_URL})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "poll-mode tunnel switch for hypervisor hosts
culvertd joins virtual machines on different hosts into one network. It is
a forwarding engine on DPDK that bridges Ethernet frames and carries them
between hosts in GRE, VXLAN, Geneve or LISP, over IPv4 or IPv6, in clear or
encrypted with ESP. It needs neither hugepages nor a special NIC.
.
It runs from one TOML file by its own name (culvert.service), or in the place
of ovs-vswitchd, whose choice the package registers with update-alternatives:
the tools and services of openvswitch-switch then start and drive it.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# DPDK loads its drivers when it starts: the one of packet buffers, without which there are none, and those of devices. Their
# packages are named by the version of its libraries.
find_library(CULVERT_RTE_EAL rte_eal REQUIRED)
mark_as_advanced(CULVERT_RTE_EAL)
get_filename_component(rte_eal ${CULVERT_RTE_EAL} REALPATH)
string(REGEX MATCH "[.]so[.]([0-9]+)" _ ${rte_eal})
set(CPACK_DEBIAN_PACKAGE_DEPENDS librte-mempool-ring${CMAKE_MATCH_1})
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "librte-meta-bus, librte-meta-mempool, librte-meta-net")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "logrotate, openvswitch-switch, strongswan-charon, strongswan-swanctl")
set(CPACK_DEBIAN_PACKAGE_ENHANCES "openvswitch-switch")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_CURRENT_LIST_DIR}/conffiles
    ${CMAKE_CURRENT_LIST_DIR}/postinst
    ${CMAKE_CURRENT_LIST_DIR}/prerm
    ${CMAKE_CURRENT_LIST_DIR}/postrm)

include(CPack)
