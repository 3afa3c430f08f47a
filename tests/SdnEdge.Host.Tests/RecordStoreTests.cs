using System.Diagnostics;
using System.Text;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests;

/// <summary>What is promised is on disk, and what is on disk is never taken for something else.</summary>
public sealed class RecordStoreTests : IDisposable
{
    private static readonly HostRecord s_record = new()
    {
        Name = "vs", Epoch = 9, MayRun = 7, RanEpoch = 7, VoidEpoch = 5, Phase = HostPhase.Offered, PhaseEpoch = 9, Migration = "m-9",
            Role = MigrationRole.Source, PeerHost = "host-b",
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-records-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_record_comes_back_as_it_was_written()
    {
        using RecordStore store = RecordStore.Open(_folder);
        Assert.Equal(new RecordFound(null, null), store.Read("vs"));
        foreach (HostPhase phase in Enum.GetValues<HostPhase>())
        {
            HostRecord record = s_record with { Phase = phase, MayRun = HostRecord.GivesRight(phase) ? 7 : null };
            store.Write(record);
            Assert.Equal(new RecordFound(record, null), store.Read("vs"));
        }

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(store.PathOf("vs")));
        Assert.False(File.Exists(store.PathOf("vs") + ".new"));
    }

    [Fact]
    public void A_file_cut_anywhere_or_with_any_bit_turned_is_refused_and_never_another_record()
    {
        using RecordStore store = RecordStore.Open(_folder);
        store.Write(s_record);
        string path = store.PathOf("vs");
        byte[] good = File.ReadAllBytes(path);
        for (int length = 0; length < good.Length - 1; length++) Refused(good[..length]);
        for (int bit = 0; bit < 8 * (good.Length - 1); bit++)
        {
            byte[] bad = [.. good];
            bad[bit / 8] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(path, bad);
            RecordFound found = store.Read("vs");
            Assert.True(found.Record is null ? found.Fault is not null : found.Record == s_record, Encoding.UTF8.GetString(bad));
        }

        void Refused(byte[] bytes)
        {
            File.WriteAllBytes(path, bytes);
            RecordFound found = store.Read("vs");
            Assert.Null(found.Record);
            Assert.Contains(path, found.Fault, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_file_of_a_later_version_of_another_server_or_that_contradicts_itself_is_refused_with_what_would_be_right()
    {
        using RecordStore store = RecordStore.Open(_folder);
        store.Write(s_record);
        string text = File.ReadAllText(store.PathOf("vs"));
        File.WriteAllText(store.PathOf("vs"), text.Replace("\"version\":1", "\"version\":2", StringComparison.Ordinal));
        Assert.Contains("run the program that wrote it", store.Read("vs").Fault, StringComparison.Ordinal);
        File.WriteAllText(store.PathOf("db"), text);
        Assert.Contains("is the record of server 'vs'", store.Read("db").Fault, StringComparison.Ordinal);
        store.Write(s_record with { MayRun = null });
        Assert.Contains("contradicts itself", store.Read("vs").Fault, StringComparison.Ordinal);
        File.Delete(store.PathOf("vs"));
        Directory.CreateDirectory(store.PathOf("vs"));
        Assert.Contains("cannot be read", store.Read("vs").Fault, StringComparison.Ordinal);
    }

    [Fact]
    public void One_agent_has_the_folder()
    {
        using RecordStore store = RecordStore.Open(_folder);
        Assert.Contains("the other agent", Assert.Throws<IOException>(() => RecordStore.Open(_folder)).Message, StringComparison.Ordinal);
    }

    [RootFact]
    public void A_full_disk_is_said_with_the_file_and_the_old_record_stays()
    {
        string disk = Path.Combine(_folder, "disk");
        Directory.CreateDirectory(disk);
        Command("mount", "-t", "tmpfs", "-o", "size=16k", "none", disk);
        try
        {
            using RecordStore store = RecordStore.Open(disk);
            store.Write(s_record);
            try
            {
                using FileStream filler = File.Create(Path.Combine(disk, "filler"));
                while (true)
                {
                    filler.Write(new byte[1024]);
                    filler.Flush();
                }
            }
            catch (IOException)
            {
                // Full.
            }

            string message = Assert.Throws<IOException>(() => store.Write(s_record with { Epoch = 10 })).Message;
            Assert.Contains(store.PathOf("vs"), message, StringComparison.Ordinal);
            Assert.Equal(s_record, store.Read("vs").Record);
            File.Delete(Path.Combine(disk, "filler"));
            store.Write(s_record with { Epoch = 10 });
            Assert.Equal(10, store.Read("vs").Record!.Epoch);
        }
        finally
        {
            Command("umount", disk);
        }
    }

    private static void Command(params string[] words)
    {
        using Process process = Process.Start(words[0], words[1..]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
