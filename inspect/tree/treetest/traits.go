package treetest

// Traits are the facts that a file system records. They decide what Fill makes and Run compares.
type Traits struct {
	Modes, Owners, HardLinks, Symlinks, Xattrs bool
	Devices                                    bool // and fifos and sockets
	Holes                                      bool // files far larger than their data
	ByteNames                                  bool // any byte but "/" and NUL; otherwise what Windows takes
	// TimeStep is the unit of modification times in nanoseconds; 0 if they are not compared.
	TimeStep int64
	// Oldest and Newest bound the modification times, seconds since 1970.
	Oldest, Newest int64
	// MaxTarget is the longest symbolic link.
	MaxTarget int
	// XattrRoom is the most bytes of attributes a file can have: in ext, less than a block.
	XattrRoom int
	// Many is how many entries the largest directory has.
	Many int
	// Kernel says that the judge is the kernel's mount of the image, which also has the image's
	// link counts, sizes of directories, allocated bytes and other times.
	Kernel bool
}

// Unix returns the traits of a Linux file system such as ext4.
func Unix() Traits {
	return Traits{
		Modes: true, Owners: true, HardLinks: true, Symlinks: true, Xattrs: true, Devices: true, Holes: true,
		ByteNames: true, TimeStep: 1, Oldest: -1 << 31, Newest: 1<<34 - 1<<31 - 1, MaxTarget: 1000,
		XattrRoom: 3000, Many: 2000,
	}
}

// Windows returns the traits of a file system such as FAT, whose times are even seconds.
func Windows() Traits {
	return Traits{TimeStep: 2e9, Oldest: 315532800, Newest: 4354819198, Many: 600}
}
