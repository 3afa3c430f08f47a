using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int O_DIRECTORY = 0x10000;

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    public static partial int FileSync(int fd);
}

/// <summary>
/// A small file that is at all times either the old one or the new one, whole, also after a crash of the machine: 1. written beside it,
/// 2. synced, 3. renamed over it, 4. the folder synced, so that the rename is durable too.
/// </summary>
public static class DurableFile
{
    /// <summary>Replaces the content of <paramref name="path"/>. When it returns the content is on disk.</summary>
    /// <param name="path">The file; its folder must exist. Two writers of one file must not overlap.</param>
    /// <param name="content">All that it will hold.</param>
    /// <exception cref="IOException">It could not be written. Either content may be there then, whole.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        string beside = path + ".new";
        using (var file = new FileStream(beside, new FileStreamOptions
        {
            Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }

        File.Move(beside, path, overwrite: true);
        SyncFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    // The name of a file is content of its folder.
    private static void SyncFolder(string folder)
    {
        int fd = Libc.Open(folder, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC);
        if (fd < 0) throw LinuxException.Last($"open folder {folder}");
        try
        {
            if (Libc.FileSync(fd) < 0) throw LinuxException.Last($"sync folder {folder}");
        }
        finally
        {
            Libc.Close(fd);
        }
    }
}
