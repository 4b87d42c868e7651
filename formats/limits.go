package formats

// Limits shared by drivers: no image may exceed them, whatever its header says.
const (
	// SectorSize is the unit of a disk's size, and the size of most disks' logical sectors. Others
	// have LargeSectorSize.
	SectorSize      = 512
	LargeSectorSize = 4096
	// MaxDiskSize leaves room below 2^63 for every rounding and sum of offsets that drivers and
	// readers do.
	MaxDiskSize = 1 << 60
	// MaxClusterSize bounds the buffer for one cluster; VHDX has the largest blocks, and those are
	// not compressed and so never read whole.
	MaxClusterSize = 256 << 20
	// MaxCompressedCluster bounds what must be decoded to read one byte.
	MaxCompressedCluster = 32 << 20
	// MaxTables bounds the metadata a driver keeps in memory for one open image.
	MaxTables = 64 << 20
)
