using System.Text.Json;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>Why a volume could not be made, opened or deleted. The message says what was wrong, where, and what would be right.</summary>
public sealed class VolumeException : IOException
{
    /// <summary>With a message for people.</summary>
    public VolumeException(string message)
        : base(message)
    {
    }

    /// <summary>What was asked for cannot be: nothing that is here stands in its way.</summary>
    public bool IsRequest { get; init; }

    /// <summary>What recovery found, when the log is damaged.</summary>
    public LogRecovery? Recovery { get; init; }
}

/// <summary>
/// The volumes of a store: a folder for each, of mode 0700, its files 0600.
/// <code>
/// NAME/volume.json    what it is (VolumeMetadata)
/// NAME/lock           held while it is open
/// NAME/superblock     up to where the log is in the image (Superblock)
/// NAME/hashes         the tree of sums (ContentTreeShape)
/// NAME/log/0001 ...   segments (VolumeLog)
/// NAME/image          the image, unless it is elsewhere
/// </code>
/// Beside them .lock, held by the store that has them. volume.json is written last: a folder without it is what a crash left of a creation,
/// and the next creation of that name removes it.
/// </summary>
/// <param name="root">The folder of the folders; it is made when it is not there.</param>
/// <param name="time">For the time of creation.</param>
public sealed class VolumeStore(string root, TimeProvider time)
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Takes the folder: one store has it at a time.</summary>
    /// <returns>Give it back by disposing.</returns>
    /// <exception cref="VolumeException">Another store has it, or it cannot be made.</exception>
    public IDisposable Hold()
    {
        try
        {
            if (!Directory.Exists(root)) Directory.CreateDirectory(root, Private);
            string file = Path.Combine(root, ".lock");
            RawFile held = File.Exists(file) ? RawFile.Open(file, writable: true) : RawFile.Create(file);
            if (held.TryLock()) return held;
            held.Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LinuxException)
        {
            throw new VolumeException($"state.folder: {root}: {e.Message}");
        }

        throw new VolumeException($"state.folder: another store has {root}; give each store a folder of its own, or end the other one");
    }

    /// <summary>Makes a volume of zeros.</summary>
    /// <param name="name">1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', the first a letter or digit.</param>
    /// <param name="size">Bytes, a multiple of 512, more than 0.</param>
    /// <param name="options">How it works; its log is laid out so for good.</param>
    /// <param name="identity">That of the volume it is to be a copy of; null: a new one.</param>
    /// <param name="epoch">Of the first records.</param>
    /// <exception cref="VolumeException">It could not be made; nothing is left of it.</exception>
    public Volume Create(string name, long size, VolumeOptions options, Guid? identity = null, ulong epoch = 0) =>
        Make(name, size, image: null, options, identity, epoch);

    /// <summary>Makes a volume of a raw image or a block device that is there. It is used where it is, and its contents are read
    /// once.</summary>
    /// <param name="name">As <see cref="Create"/>'s.</param>
    /// <param name="image">Absolute path. From now on it belongs to the volume.</param>
    /// <param name="options">How it works.</param>
    /// <param name="identity">That of the volume it is to be a copy of; null: a new one.</param>
    /// <param name="epoch">Of the first records.</param>
    /// <exception cref="VolumeException">It could not be made; the image is as it was.</exception>
    public Volume Import(string name, string image, VolumeOptions options, Guid? identity = null, ulong epoch = 0)
    {
        if (!Path.IsPathFullyQualified(image)) throw new VolumeException($"image {image}: an absolute path is needed") { IsRequest = true };
        using var file = OpenRaw(image);
        long size = file.Length();
        if (size == 0 || size % 512 != 0)
            throw new VolumeException($"image {image}: {size} bytes; a multiple of 512, more than 0, is needed") { IsRequest = true };
        return Make(name, size, image, options, identity, epoch);
    }

    private Volume Make(string name, long size, string? image, VolumeOptions options, Guid? identity, ulong epoch)
    {
        ArgumentNullException.ThrowIfNull(options);
        string folder = FolderOf(name);
        if (size <= 0 || size % 512 != 0)
            throw new VolumeException($"volume {name}: size {size}; a multiple of 512, more than 0, is needed");
        if (File.Exists(Path.Combine(folder, "volume.json"))) throw new VolumeException($"volume {name} is there already, in {folder}");
        var metadata = new VolumeMetadata
        {
            Name = name,
            Identity = identity ?? Guid.NewGuid(),
            Size = size,
            Image = image ?? "image",
            Created = time.GetUtcNow(),
            Epoch = epoch,
            SegmentSize = options.Log.SegmentSize,
            MaxSegments = options.Log.MaxSegments,
        };
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
            if (!Directory.Exists(root)) Directory.CreateDirectory(root, Private);
            Directory.CreateDirectory(folder, Private);
            DurableFile.SyncFolder(root);
            var disk = new LockedFolder(folder);
            int error = 0;
            if (image is null)
            {
                using IStoreFile? made = disk.Open("image", size, out error);
            }

            IStoreFile? file = error == 0 ? OpenImage(image ?? Path.Combine(folder, "image"), out error) : null;
            if (file is null) throw Failed(disk, name, "image", error);
            var volume = Volume.Create(disk, new Volume.Parts(file), metadata, options, out error);
            if (volume is null) throw Failed(disk, name, folder, error);
            try
            {
                DurableFile.Replace(Path.Combine(folder, "volume.json"),
                    JsonSerializer.SerializeToUtf8Bytes(metadata, VolumeJson.Default.VolumeMetadata));
            }
            catch
            {
                volume.Dispose();
                throw;
            }

            volume.Holds(disk);
            return volume;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
            throw e as VolumeException ?? new VolumeException($"volume {name}: {e.Message}");
        }
    }

    /// <summary>Opens a volume.</summary>
    /// <exception cref="VolumeException">It is not there, is open already, or is damaged.</exception>
    public Volume Open(string name, VolumeOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        string folder = FolderOf(name);
        var metadata = ReadMetadata(folder)
            ?? throw new VolumeException($"volume {name} is not there: no {Path.Combine(folder, "volume.json")}");
        LockedFolder disk;
        try
        {
            disk = new LockedFolder(folder);
        }
        catch (IOException e)
        {
            throw new VolumeException($"volume {name}: {e.Message}");
        }

        var file = OpenImage(Path.Combine(folder, metadata.Image), out int error);
        if (file is null) throw Failed(disk, name, metadata.Image, error);
        if (file.Length < metadata.Size)
        {
            file.Dispose();
            disk.Dispose();
            throw new VolumeException($"volume {name}: image {file.Name} has {file.Length} bytes, the volume {metadata.Size}");
        }

        options = options with { Log = options.Log with { SegmentSize = metadata.SegmentSize, MaxSegments = metadata.MaxSegments } };
        var volume = Volume.Open(disk, new Volume.Parts(file), metadata, options, out var recovery, out error);
        if (volume is not null)
        {
            volume.Holds(disk);
            return volume;
        }

        disk.Dispose();
        if (error != 0) throw new VolumeException($"volume {name}: {folder}: {RawFile.Describe(error)}");
        throw new VolumeException($"volume {name} is damaged: {string.Join("; ", recovery!.Damage)}") { Recovery = recovery };
    }

    /// <summary>Deletes a volume; an image that was imported stays where it is.</summary>
    /// <exception cref="VolumeException">It is not there, or is open.</exception>
    public void Delete(string name)
    {
        string folder = FolderOf(name);
        if (!Directory.Exists(folder)) throw new VolumeException($"volume {name} is not there");
        try
        {
            using (new LockedFolder(folder))
            {
                // First what makes it a volume: after a crash in between it is not half a volume.
                File.Delete(Path.Combine(folder, "volume.json"));
                DurableFile.SyncFolder(folder);
                Directory.Delete(folder, recursive: true);
            }

            DurableFile.SyncFolder(root);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VolumeException($"volume {name}: {e.Message}");
        }
    }

    /// <summary>The names of the volumes that are here, whatever their files are like.</summary>
    public IReadOnlyList<string> Names() => !Directory.Exists(root) ? []
        : [.. Directory.EnumerateDirectories(root).Where(f => File.Exists(Path.Combine(f, "volume.json"))).Select(f => Path.GetFileName(f)!)
            .Order(StringComparer.Ordinal)];

    /// <summary>The volumes that are here, by name.</summary>
    public IReadOnlyList<VolumeMetadata> List() =>
        !Directory.Exists(root)
            ? []
            : [.. Directory.EnumerateDirectories(root).Order(StringComparer.Ordinal).Select(ReadMetadata).OfType<VolumeMetadata>()];

    private static VolumeMetadata? ReadMetadata(string folder)
    {
        string path = Path.Combine(folder, "volume.json");
        if (!File.Exists(path)) return null;
        try
        {
            var metadata = JsonSerializer.Deserialize(File.ReadAllBytes(path), VolumeJson.Default.VolumeMetadata)
                ?? throw new VolumeException($"{path} is empty");
            if (metadata.Format != VolumeMetadata.CurrentFormat)
                throw new VolumeException($"{path} has format {metadata.Format}; this program knows {VolumeMetadata.CurrentFormat}");
            return metadata.Size > 0 ? metadata : throw new VolumeException($"{path} has size {metadata.Size}");
        }
        catch (JsonException e)
        {
            throw new VolumeException($"{path} is not a volume's description: {e.Message}");
        }
    }

    private string FolderOf(string name)
    {
        bool good = name is { Length: > 0 and <= 63 } && char.IsAsciiLetterOrDigit(name[0])
            && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
        return good ? Path.Combine(root, name)
            : throw new VolumeException(
                $"volume name '{name}': 1 to 63 of a-z, A-Z, 0-9, '-', '_', '.', the first a letter or digit, is needed");
    }

    private static RawFile OpenRaw(string path)
    {
        try
        {
            return RawFile.Open(path, writable: true);
        }
        catch (LinuxException e)
        {
            throw new VolumeException(e.Message) { IsRequest = true };
        }
    }

    // Locked, so that no other volume and no other server writes it.
    private static DiskFile? OpenImage(string path, out int error)
    {
        RawFile file;
        try
        {
            file = RawFile.Open(path, writable: true);
        }
        catch (LinuxException e)
        {
            error = e.ErrorNumber;
            return null;
        }

        error = file.TryLockImage() ? 0 : RawFile.InUse;
        if (error == 0) return new DiskFile(file);
        file.Dispose();
        return null;
    }

    private static VolumeException Failed(LockedFolder disk, string name, string what, int error)
    {
        disk.Dispose();
        return new VolumeException($"volume {name}: {what}: "
            + (error == RawFile.InUse ? "another volume or process has it open for writing; end that first" : RawFile.Describe(error)));
    }

    // The folder of an open volume: one process has it, and it once.
    private sealed class LockedFolder : IStoreFolder, IDisposable
    {
        private readonly DiskFolder _folder;
        private readonly RawFile _lock;

        public LockedFolder(string path)
        {
            _folder = new DiskFolder(path);
            string file = Path.Combine(path, "lock");
            _lock = File.Exists(file) ? RawFile.Open(file, writable: true) : RawFile.Create(file);
            if (_lock.TryLock()) return;
            _lock.Dispose();
            throw new VolumeException($"{path} is open already, here or in another process");
        }

        public IStoreFile? Open(string name, long length, out int error) => _folder.Open(name, length, out error);

        public IReadOnlyList<string> List(string subfolder) => _folder.List(subfolder);

        public int Delete(string name) => _folder.Delete(name);

        public void Dispose() => _lock.Dispose();
    }
}
