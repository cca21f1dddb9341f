//! Leaders, networks and disks that fail.
